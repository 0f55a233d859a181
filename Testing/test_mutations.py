"""The named faults stay plantable; ``python -m Testing.mutations`` plants them."""

from __future__ import annotations

from pathlib import Path

import pytest

from Testing.faults import FAULTS, Fault
from Testing.mutations import ROOT, plant


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_changes_one_line_that_is_there_once(fault: Fault, tmp_path: Path) -> None:
    source = ROOT / fault.file
    (tmp_path / fault.file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / fault.file).write_bytes(source.read_bytes())
    plant(fault, tmp_path)
    before, after = source.read_text().splitlines(), (tmp_path / fault.file).read_text().splitlines()
    assert sum(one != other for one, other in zip(before, after, strict=True)) == 1
    assert all((ROOT / test).is_file() for test in fault.tests)


def test_faults_have_names_of_their_own() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 15
