"""Evidence as a header for JSON and arrays of numbers, and back: how it crosses from the worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.models.evidence import Evidence, EvidenceMap

Header = dict[str, Any]
Arrays = dict[str, NDArray[Any]]


def evidence_to_arrays(evidence: Evidence) -> tuple[Header, Arrays]:
    """The header and the arrays of the maps of a landmark."""
    header: Header = {"landmark": evidence.landmark, "maps": []}
    arrays: Arrays = {}
    for n, one in enumerate(evidence.maps):
        header["maps"].append({"name": one.name, "explanation": one.explanation})
        arrays[f"{n}.values"], arrays[f"{n}.to_index"] = one.values, one.to_index
    return header, arrays


def evidence_from_arrays(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Evidence:
    """The evidence of :func:`evidence_to_arrays`; raises ``ValueError``, in one line, for anything else."""
    try:
        maps = tuple(
            EvidenceMap(
                str(one["name"]),
                str(one["explanation"]),
                np.asarray(arrays[f"{n}.values"], np.float32),
                np.asarray(arrays[f"{n}.to_index"], np.float64),
            )
            for n, one in enumerate(header["maps"])
        )
        if not maps:
            raise ValueError("there is no map")
        return Evidence(str(header["landmark"]), maps)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"expected maps of a landmark, got others ({error}); ask again") from error
