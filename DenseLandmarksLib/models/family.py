"""The model families: what a bundle of each holds beside its network, and which predictor opens it."""

from __future__ import annotations

from dataclasses import dataclass

TEMPLATE = "configs/template.json"
JOINT_SHAPE = "configs/joint_shape.json"
PREDICTORS = "DenseLandmarksLib.models.predictors"


@dataclass(frozen=True)
class Family:
    """One family of models.

    Attributes
    ----------
    name : as the metadata of a bundle states it.
    files : what its bundles hold beside what all hold, JSON objects.
    metadata : entries that the metadata of its bundles have beside what all have; lists with one text per landmark.
    """

    name: str
    files: tuple[str, ...]
    metadata: tuple[str, ...] = ()

    @property
    def predictor_module(self) -> str:
        """The module that has ``open_<name>(bundle, device)``, which gives the predictor of a checked bundle."""
        return f"{PREDICTORS}.{self.name}"

    @property
    def opener(self) -> str:
        """That function's name."""
        return f"open_{self.name}"


# Without a template nothing else says to which structure a landmark belongs.
FAMILIES = {
    family.name: family
    for family in (
        Family("dense_shape", (TEMPLATE,)),
        Family("heatmap", (TEMPLATE,)),
        Family("heatmap_volume", (JOINT_SHAPE,), ("landmark_structures",)),
        Family("multi_scale", (JOINT_SHAPE,), ("landmark_structures",)),
    )
}
# Of bundles that do not state one.
FIRST_FAMILY = "dense_shape"
