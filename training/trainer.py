"""The loop that all families train in: optimiser, schedule, running mean of the weights, checkpoints, exact resume."""

from __future__ import annotations

import errno
import math
import pickle
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any, NoReturn, Protocol

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LambdaLR, LRScheduler, OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.files import write_beside_and_rename
from DenseLandmarksLib.models.bundle import Bundle
from training.run_recipe import OptimiserRecipe


class Task(Protocol):
    """What a family trains: its data, its network and what is wrong with an output.

    Attributes
    ----------
    optimiser : the recipe's; ``steps_per_epoch`` follows from the data: a pass over them.
    validated : names of what :meth:`validate` measures.
    """

    optimiser: OptimiserRecipe
    seed: int
    steps_per_epoch: int
    device: str
    validated: tuple[str, ...]

    def new_network(self) -> nn.Module:
        """A freshly initialised network, by torch's own random numbers."""
        ...

    def batches(self, epoch: int) -> Iterator[Any]:
        """The batches of an epoch; their random numbers are drawn from seed and epoch alone."""
        ...

    def loss(self, network: nn.Module, batch: Any, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch and its terms; ``progress`` is the share of the run that is done, 0 to 1."""
        ...

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Figures of the cases that are held out; empty where there are none."""
        ...

    def export(self, folder: Path, network: nn.Module, parent: Bundle | None) -> None:
        """Write the trained network as a bundle."""
        ...


# What to do where training leads to values that are no numbers.
ADVICE = "Lower optimiser.learning_rate, or train with precision float32."

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def parameter_groups(network: nn.Module, recipe: OptimiserRecipe) -> Any:
    """All parameters of a network, or in two groups: the weights of its convolutions, which decay, and the others."""
    if recipe.decay == "all":
        return network.parameters()
    kernels = [module.weight for module in network.modules() if isinstance(module, _CONVOLUTIONS)]
    of_kernels = {id(kernel) for kernel in kernels}
    others = [parameter for parameter in network.parameters() if id(parameter) not in of_kernels]
    return [{"params": kernels}, {"params": others, "weight_decay": 0.0}]


def build_optimiser(parameters: Any, recipe: OptimiserRecipe, steps: int) -> tuple[torch.optim.Optimizer, LRScheduler]:
    """Optimiser and learning-rate schedule over ``steps`` steps."""
    optimiser: torch.optim.Optimizer
    if recipe.name == "adam":
        optimiser = Adam(parameters, lr=recipe.learning_rate)
    elif recipe.name == "nesterov":
        optimiser = SGD(
            parameters, recipe.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay, nesterov=True
        )
    else:
        optimiser = AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    if recipe.schedule == "one_cycle":
        # Torch divides by the steps that the rate rises in, which are none in a run of five. It would take its own momentum
        # instead of the recipe's; Adam's first beta always went along.
        return optimiser, OneCycleLR(
            optimiser,
            recipe.learning_rate,
            total_steps=max(steps, 6),
            pct_start=0.2,
            cycle_momentum=recipe.name != "nesterov",
        )
    if recipe.schedule == "constant":
        return optimiser, ConstantLR(optimiser, factor=1.0)
    if recipe.schedule == "falling":
        return optimiser, LambdaLR(
            optimiser, lambda done: 1.0 if done < steps / 2 else 0.5 if done < 0.75 * steps else 0.1
        )
    return optimiser, CosineAnnealingLR(optimiser, T_max=steps, eta_min=recipe.learning_rate / 100)


def running_mean(decay: float) -> Callable[[Any, Any, Any], None]:
    """Torch's running mean of weights and buffers; whole numbers, such as indices and counts, are copied."""
    of_floats = get_ema_multi_avg_fn(decay)

    @torch.no_grad()
    def update(means: list[Tensor], now: list[Tensor], count: Any) -> None:
        # They come by type. Torch would round the mean of whole numbers down: an index 3 becomes 2.
        if means[0].is_floating_point():
            of_floats(means, now, count)
            return
        for mean, value in zip(means, now, strict=True):
            mean.copy_(value)

    return update


class Trainer:
    """The state of one run; everything that changes is in :meth:`state`."""

    def __init__(self, task: Task, advice: str = ADVICE) -> None:
        """``advice``, a sentence, says what to do where training leads to values that are no numbers."""
        self.task, self._advice = task, advice
        torch.manual_seed(task.seed)
        optimiser = task.optimiser
        self.network = task.new_network().to(task.device)
        self.steps_per_epoch = optimiser.steps // max(optimiser.epochs, 1) or task.steps_per_epoch
        self.optimiser, self.schedule = build_optimiser(
            parameter_groups(self.network, optimiser), optimiser, optimiser.epochs * self.steps_per_epoch
        )
        average = running_mean(optimiser.ema) if optimiser.ema > 0 else None
        self.average = AveragedModel(self.network, multi_avg_fn=average, use_buffers=True) if average else None
        self.epoch = 0
        self._pull, self._anchors = 0.0, dict[str, Tensor]()

    @property
    def best_network(self) -> nn.Module:
        """The network whose weights count: the running mean, or the last weights where there is none."""
        return self.average.module if self.average is not None else self.network

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs; all random numbers follow from seed and epoch, so they need no saving."""
        return {
            "epoch": self.epoch,
            "network": self.network.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state`."""
        self.epoch = state["epoch"]
        self.network.load_state_dict(state["network"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])

    def pull_to(self, weights: Mapping[str, Tensor], pull: float) -> None:
        """Add ``pull * sum((w - w0) ** 2)`` to the loss from now on, over the parameters that are among ``weights`` w0.

        L2-SP (Li, Grandvalet and Davoine 2018). Those of another shape, which have grown, are free.
        """
        own = dict(self.network.named_parameters())
        same = {name: w0 for name, w0 in weights.items() if name in own and own[name].shape == w0.shape}
        self._pull, self._anchors = pull, {name: w0.to(own[name]).detach() for name, w0 in same.items()}

    def _pulled(self) -> Tensor:
        own = dict(self.network.named_parameters())
        return self._pull * torch.stack([(own[name] - w0).square().sum() for name, w0 in self._anchors.items()]).sum()

    def _batches(self) -> Iterator[Any]:
        """Those of an epoch of the data; or, where the recipe counts steps, of as many passes over them as it takes."""
        passes = -(-self.steps_per_epoch // self.task.steps_per_epoch)
        of_passes = (self.task.batches(self.epoch * passes + number) for number in range(passes))
        return islice(chain.from_iterable(of_passes), self.steps_per_epoch)

    def run_epoch(self, between_steps: Callable[[int], None] = lambda step: None) -> dict[str, float]:
        """Train one epoch; returns the mean of each loss term.

        Raises :class:`InputError` when the loss, its gradient or a weight is no finite number; the epoch then does not count.

        ``between_steps`` is called before each step with its number in the epoch, and may raise what ends it.
        """
        steps = self.steps_per_epoch
        # Dropout draws from torch's own generator.
        torch.manual_seed(self.task.seed * 1_000_003 + self.epoch)
        sums: dict[str, float] = {}
        self.network.train()
        for step, batch in enumerate(self._batches()):
            between_steps(step)
            progress = (self.epoch + step / steps) / self.task.optimiser.epochs
            loss, terms = self.task.loss(self.network, batch, progress)
            if self._anchors:
                terms = {**terms, "pull": self._pulled()}
                loss = loss + terms["pull"]
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.task.optimiser.clip or math.inf)
            # Both at once: each look at a number waits for the graphics card.
            if not torch.isfinite(loss.detach() + norm):
                self._raise_not_finite(loss.detach(), norm)
            self.optimiser.step()
            self.schedule.step()
            if self.average is not None:
                self.average.update_parameters(self.network)
            for name, term in {"loss": loss, **terms}.items():
                sums[name] = sums.get(name, 0.0) + float(term.detach()) / steps
        self._check_weights()
        self.epoch += 1
        return sums

    def _raise_not_finite(self, loss: Tensor, norm: Tensor) -> NoReturn:
        what, value = ("loss", loss) if not torch.isfinite(loss) else ("gradient", norm)
        raise InputError(f"expected a finite {what}, got {float(value)} in epoch {self.epoch}. {self._advice}")

    def _check_weights(self) -> None:
        """What a checkpoint or a bundle is made of; a step from finite gradients may still be too long for a number."""
        states = [network.state_dict() for network in (self.network, self.best_network)]
        floats = [value for state in states for value in state.values() if value.is_floating_point()]
        if floats and not torch.stack([torch.isfinite(value).all() for value in floats]).all():
            raise InputError(f"expected finite weights, got others after epoch {self.epoch}. {self._advice}")


def start_with(trainer: Trainer, parent: Bundle) -> None:
    """Begin with the weights of ``parent``; raises :class:`InputError` when they belong to another network."""
    own = trainer.network.state_dict()
    shapes = {name: value.shape for name, value in own.items()}
    wrong = [name for name, value in parent.weights.items() if shapes.get(name) != value.shape]
    if wrong:
        raise InputError(
            f"expected weights that fit the recipe's network, {parent.name} has another {wrong[0]}. Start from another "
            "model, or change the recipe's network."
        )
    weights = {name: torch.from_numpy(value).float() for name, value in parent.weights.items()}
    trainer.network.load_state_dict(own | weights)
    if trainer.average is not None:
        trainer.average.module.load_state_dict(trainer.network.state_dict())


def save_checkpoint(path: Path, trainer: Trainer) -> None:
    """Write the run's state (tensors and plain values only)."""
    write_checkpoint(path, trainer.state())


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a :meth:`Trainer.state`; raises ``OSError`` where the disk is full, and leaves an older file as it was."""
    with write_beside_and_rename(path) as beside, beside.open("wb") as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:  # torch hides what the disk said
            raise OSError(errno.ENOSPC, f"{path.name} could not be written") from error


def read_checkpoint(path: Path, device: str) -> dict[str, Any]:
    """Read :func:`save_checkpoint`'s file; raises :class:`InputError` for one that is damaged."""
    try:
        return dict(torch.load(path, map_location=device, weights_only=True))
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(
            f"expected a checkpoint in {path}, but it cannot be read. Delete it to begin anew, or restore a copy."
        ) from error
