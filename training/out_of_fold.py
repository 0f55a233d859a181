"""Models that were each trained without another fold of the same cases: together they see every case as a new one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.bundle import Bundle


def with_folds(bundles: Sequence[Bundle]) -> Iterator[tuple[Bundle, int, int]]:
    """Models of 'fit --fold', each with the fold that it did not see, and of how many.

    Raises :class:`InputError` for a model that was trained on all cases, or when two held out the same fold.
    """
    seen: set[int] = set()
    for bundle in bundles:
        recipe = bundle.metadata["training"]["recipe"]
        fold = int(recipe["validation_fold"])
        if fold < 0 or fold in seen:
            what = "one that was trained on all cases" if fold < 0 else f"two without fold {fold}"
            raise InputError(
                f"expected models of 'fit --fold', each without another fold, got {what}: {bundle.folder}. "
                "Give others to --folds."
            )
        seen.add(fold)
        yield bundle, fold, int(recipe["folds"])
