"""Whether two values are the same in every field, NaN included: what a prediction must survive on its way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass

import numpy as np


def assert_same(got: object, wanted: object, where: str = "prediction") -> None:
    """Same types, shapes, element types and bits, in every field that takes part in a comparison.

    A number of numpy's is the same as Python's.
    """
    got, wanted = (value.item() if isinstance(value, np.generic) else value for value in (got, wanted))
    assert type(got) is type(wanted), where
    if is_dataclass(wanted):
        for field in fields(wanted):
            if field.compare:
                assert_same(getattr(got, field.name), getattr(wanted, field.name), f"{where}.{field.name}")
    elif isinstance(wanted, np.ndarray) and isinstance(got, np.ndarray):
        assert got.dtype == wanted.dtype, where
        np.testing.assert_array_equal(got, wanted, where, strict=True)
    elif isinstance(wanted, tuple) and isinstance(got, tuple):
        assert len(got) == len(wanted), where
        for i, (one, other) in enumerate(zip(got, wanted, strict=True)):
            assert_same(one, other, f"{where}[{i}]")
    elif isinstance(wanted, Mapping) and isinstance(got, Mapping):
        assert list(got) == list(wanted), where
        for key, other in wanted.items():
            assert_same(got[key], other, f"{where}[{key!r}]")
    else:
        assert got == wanted or (got != got and wanted != wanted), f"{where}: {got!r} is not {wanted!r}"
