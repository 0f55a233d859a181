"""``python -m Testing.mutations``: plants named one-line faults, one at a time; each must turn a test red.

A fault that no test notices is a hole in the tests. The faults are planted in a copy, never in the tree itself.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("DenseLandmarksLib", "Testing", "training", "Resources", "pyproject.toml", "Makefile", "README.md", "LICENSE")
LIMIT_S = 600


@dataclass(frozen=True)
class Fault:
    """One line of code made wrong: ``right`` occurs once in ``file``; ``tests`` are those that should notice."""

    name: str
    file: str
    right: str
    wrong: str
    tests: tuple[str, ...]


FAULTS: tuple[Fault, ...] = (
    Fault(
        "RAS sign",
        "DenseLandmarksLib/geometry/frames.py",
        "np.array([-1.0, -1.0, 1.0])",
        "np.array([1.0, -1.0, 1.0])",
        ("Testing/annotation/test_imports.py",),
    ),
    Fault(
        "markups in another frame",
        "DenseLandmarksLib/annotation/exports/markups.py",
        '"coordinateSystem": "LPS"',
        '"coordinateSystem": "RAS"',
        ("Testing/annotation/test_markups.py", "Testing/annotation/test_imports.py"),
    ),
    Fault(
        "no flush: buffered",
        "DenseLandmarksLib/annotation/journal.py",
        'path.open("a+b", buffering=0)',
        'path.open("a+b")',
        ("Testing/annotation/test_journal.py",),
    ),
    Fault(
        "no flush: not on the disk",
        "DenseLandmarksLib/annotation/journal.py",
        "os.fsync(self._file.fileno())",
        "self._file.fileno()",
        ("Testing/annotation/test_journal.py",),
    ),
    Fault(
        "damage is believed",
        "DenseLandmarksLib/annotation/journal.py",
        """if not line.endswith(b"\\n") or checksum != b"%08x" % zlib.crc32(body):""",
        """if not line.endswith(b"\\n"):""",
        ("Testing/annotation/test_journal.py",),
    ),
    Fault(
        "undo is not written down",
        "DenseLandmarksLib/annotation/session.py",
        "self._writing().record_index(index)",
        "self._writing()",
        ("Testing/annotation/test_session.py", "Testing/annotation/test_session_machine.py"),
    ),
    Fault(
        "another edit keeps what was undone",
        "DenseLandmarksLib/annotation/history.py",
        "(*self.edits[: self.index], edit)",
        "(*self.edits[: self.index], edit, *self.edits[self.index + 1 :])",
        ("Testing/annotation/test_session.py", "Testing/annotation/test_session_machine.py"),
    ),
    Fault(
        "saved work counts as unsaved",
        "DenseLandmarksLib/annotation/session.py",
        "self._history.saved(), saved.number",
        "self._history, saved.number",
        ("Testing/annotation/test_session.py",),
    ),
    Fault(
        "colleagues are not told",
        "DenseLandmarksLib/annotation/library/case.py",
        "if other.number < written.number",
        "if other.number > written.number",
        ("Testing/annotation/test_session.py", "Testing/annotation/library/test_revisions.py"),
    ),
    Fault(
        "accept does nothing",
        "DenseLandmarksLib/annotation/apply_edit.py",
        "dict.fromkeys(open_rows, Review.VERIFIED)",
        "dict.fromkeys(open_rows, Review.PREDICTED)",
        ("Testing/annotation/test_apply_edit.py",),
    ),
    Fault(
        "verified landmarks are dragged along",
        "DenseLandmarksLib/annotation/apply_edit.py",
        "open_rows = [row for row in rows if state.landmarks.review[row] in (Review.PREDICTED, Review.UNSURE)]",
        "open_rows = [row for row in rows if state.landmarks.review[row] is Review.UNSURE]",
        ("Testing/annotation/test_apply_edit.py",),
    ),
    Fault(
        "a corrected spacing moves points off their pixels",
        "DenseLandmarksLib/annotation/case_state.py",
        "return lps_mm_from_index(after, index_from_lps_mm(before, points_lps_mm))",
        "return lps_mm_from_index(before, index_from_lps_mm(before, points_lps_mm))",
        ("Testing/annotation/test_apply_edit.py",),
    ),
    Fault(
        "another prediction overrules people",
        "DenseLandmarksLib/annotation/apply_edit.py",
        "if old.review[row] is not Review.PREDICTED}",
        "if old.review[row] is Review.PREDICTED}",
        ("Testing/annotation/test_apply_edit.py",),
    ),
    Fault(
        "the warp wins over the brush",
        "DenseLandmarksLib/annotation/case_masks.py",
        "if structure in state.painted:",
        "if structure in state.painted and state.answer is None:",
        ("Testing/annotation/test_session.py",),
    ),
    Fault(
        "masks stay behind",
        "DenseLandmarksLib/annotation/case_masks.py",
        "prediction.grid.mask_on_image(followed)[None]",
        "prediction.grid.mask_on_image(predicted)[None]",
        ("Testing/annotation/test_session.py",),
    ),
    Fault(
        "structures may be turned over",
        "DenseLandmarksLib/annotation/fold_over.py",
        "LIMIT = 0.05",
        "LIMIT = 5.0",
        ("Testing/annotation/test_session.py",),
    ),
    Fault(
        "review ignored on export",
        "DenseLandmarksLib/annotation/library/exported_files.py",
        "for i, review in enumerate(landmarks.review) if review is not Review.PREDICTED]",
        "for i, review in enumerate(landmarks.review)]",
        ("Testing/annotation/library/test_export.py",),
    ),
    Fault(
        "doubt teaches",
        "DenseLandmarksLib/annotation/library/datalist.py",
        "_DECIDED = (Review.VERIFIED, Review.CORRECTED, Review.PLACED)",
        "_DECIDED = (Review.VERIFIED, Review.CORRECTED, Review.PLACED, Review.UNSURE)",
        ("Testing/annotation/library/test_export.py",),
    ),
    Fault(
        "pickles are read",
        "DenseLandmarksLib/annotation/array_file.py",
        "np.load(file, allow_pickle=False)",
        "np.load(file, allow_pickle=True)",
        ("Testing/annotation/test_array_file.py",),
    ),
    Fault(
        "a landmark of another template is looked up",
        "DenseLandmarksLib/annotation/apply_edit.py",
        'return landmark.template_key in ("", template.structure(landmark.structure).key)',
        "return True",
        ("Testing/annotation/test_apply_edit.py",),
    ),
    Fault(
        "RAS in the scene",
        "DenseLandmarksLib/scene/ras.py",
        "_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])",
        "_FLIP = np.diag([-1.0, 1.0, 1.0, 1.0])",
        ("Testing/scene/test_volume_node.py",),
    ),
    Fault(
        "a picture's resolution for printing is a spacing",
        "DenseLandmarksLib/geometry/formats/unweighed_spacing.py",
        "found.append(reader.GetSpacing()[:2])",
        "pass",
        ("Testing/scene/test_case_of_volume.py",),
    ),
    Fault(
        "a file vouches for pixels that are not its own",
        "DenseLandmarksLib/scene/stated_by_files.py",
        "if stated.geometry.size == image.geometry.size and _is_same(way, stated):",
        "if stated.geometry.size == image.geometry.size:",
        ("Testing/scene/test_case_of_volume.py",),
    ),
    Fault(
        "a copy carries the patient's tags",
        "DenseLandmarksLib/annotation/library/image_reference.py",
        "volume = sitk.GetImageFromArray(sitk.GetArrayViewFromImage(image.volume))",
        "volume = image.volume",
        ("Testing/annotation/library/test_pixels_of_a_case.py",),
    ),
    Fault(
        "a ruler is measured in the scene",
        "DenseLandmarksLib/scene/calibration.py",
        "factor = length_mm / _length(image, ends_ijk)",
        "factor = length_mm / line.GetLineLengthWorld()",
        ("Testing/scene/test_calibration.py",),
    ),
    Fault(
        "transforms above the image are left out",
        "DenseLandmarksLib/scene/image_in_scene.py",
        "index_to_world = _linear(self.volume) @ self._ijk_to_local()",
        "index_to_world = self._ijk_to_local()",
        ("Testing/scene/test_fiducial_lists.py",),
    ),
    Fault(
        "a dragged list counts as corrections",
        "DenseLandmarksLib/scene/fiducial_lists.py",
        "if len(steps) == len(seen & present) and is_whole(list(steps.values())):",
        "if len(steps) == len(seen & present) and not steps:",
        ("Testing/scene/test_fiducial_lists.py",),
    ),
    Fault(
        "a list moved by a transform counts as corrections",
        "DenseLandmarksLib/scene/gesture.py",
        "return bool(np.abs(fitted - after).max() <= ALIKE_MM)",
        "return False",
        ("Testing/scene/test_fiducial_lists.py",),
    ),
    Fault(
        "neighbours that came along count as dragged",
        "DenseLandmarksLib/scene/fiducial_lists.py",
        "                if not stayed and not np.abs(points_lps_mm[n] - landmarks.points_lps_mm[row]).max() <= still_mm:",
        "                if not np.abs(points_lps_mm[n] - landmarks.points_lps_mm[row]).max() <= still_mm:",
        ("Testing/scene/test_fiducial_lists.py",),
    ),
    Fault(
        "NaN in a list's file",
        "DenseLandmarksLib/scene/measurements.py",
        "known = np.nan_to_num(of_points.astype(np.float64), nan=UNKNOWN)",
        "known = of_points.astype(np.float64)",
        ("Testing/scene/test_fiducial_lists.py",),
    ),
    Fault(
        "the Delete key does nothing",
        "DenseLandmarksLib/scene/listening.py",
        "self._lists.let_delete(node, display.GetActiveComponentType() == _CONTROL_POINT)",
        "self._lists.let_delete(node, False)",
        ("Testing/scene/test_drags.py",),
    ),
    Fault(
        "a stroke is overwritten by a drag",
        "DenseLandmarksLib/scene/case_in_scene.py",
        "for structure, mask in painted.items():",
        "for structure, mask in self.segments.painted(self.session.state, self.image).items():",
        ("Testing/scene/test_case_in_scene.py",),
    ),
    Fault(
        "a spacing that was typed is ignored",
        "DenseLandmarksLib/scene/case_in_scene.py",
        "                if spacing_mm is not None:",
        "                if spacing_mm is None and self.is_open is None:",
        ("Testing/scene/test_case_in_scene.py",),
    ),
    Fault(
        "an answer takes the point out of the hand",
        "DenseLandmarksLib/scene/case_in_scene.py",
        "(self._settling or not is_busy)",
        "True",
        ("Testing/scene/test_case_in_scene.py",),
    ),
    Fault(
        "somebody else's image is removed",
        "DenseLandmarksLib/scene/case_volume.py",
        "if self.image.volume.GetAttribute(_ADDED) is not None:",
        "if self.image.volume is not None:",
        ("Testing/scene/test_case_in_scene.py",),
    ),
    Fault(
        "a deleted image takes the work with it",
        "DenseLandmarksLib/scene/case_in_scene.py",
        "        if self.session.unsaved:",
        "        if not self.session.unsaved:",
        ("Testing/scene/test_case_in_scene.py",),
    ),
    Fault(
        "the next case is opened without saving",
        "DenseLandmarksLib/scene/desk.py",
        "        if current.session.unsaved:",
        "        if current.session.unsaved and not current.is_open:",
        ("Testing/scene/test_case_in_scene.py",),
    ),
    Fault(
        "slices stay turned round",
        "DenseLandmarksLib/scene/case_volume.py",
        "        if turn_round and volume.GetImageData() is not None:",
        "        if not turn_round and volume.GetImageData() is not None:",
        ("Testing/scene/test_reopen.py",),
    ),
    Fault(
        "what a scene had unsaved is forgotten",
        "DenseLandmarksLib/scene/desk.py",
        "            if not same(session.state, brought):",
        "            if same(session.state, brought):",
        ("Testing/scene/test_reopen.py",),
    ),
    Fault(
        "the scene's state is kept in name only",
        "DenseLandmarksLib/scene/two_states.py",
        "        self._session.restore(self.scene_state)",
        "        self._session.restore(self._session.state)",
        ("Testing/scene/test_reopen.py",),
    ),
    Fault(
        "uv volumes stay behind",
        "DenseLandmarksLib/scene/uv_volumes.py",
        "_lay(node, _ijk_to_ras_mm(image.volume) @ _pixel_to_index(field, prediction.grid))",
        "_lay(node, _pixel_to_index(field, prediction.grid))",
        ("Testing/scene/test_uv_volumes.py",),
    ),
    Fault(
        "cancel ignored",
        "DenseLandmarksLib/worker/server_queue.py",
        "            return self._given_up",
        "            return False",
        ("Testing/worker/test_turns.py", "Testing/worker/test_predicting.py"),
    ),
    Fault(
        "no turns",
        "DenseLandmarksLib/worker/server_queue.py",
        "client = next(iter(self._clients))",
        "client = min(self._clients)",
        ("Testing/worker/test_turns.py",),
    ),
    Fault(
        "strangers come in",
        "DenseLandmarksLib/worker/doorway.py",
        'return hmac.compare_digest(shown, self.key.encode("ascii"))',
        "return True",
        ("Testing/worker/test_doorway.py",),
    ),
    Fault(
        "the worker outlives its parent",
        "DenseLandmarksLib/worker/server.py",
        "    os._exit(0)",
        "    return",
        ("Testing/worker/test_ending.py",),
    ),
)


def plant(fault: Fault, root: Path) -> None:
    """Put the fault into a copy of the tree; raises ``ValueError`` where its line is not there exactly once."""
    path = root / fault.file
    text = path.read_text(encoding="utf-8")
    if text.count(fault.right) != 1:
        raise ValueError(f"{fault.name}: {fault.file} has the line {text.count(fault.right)} times, not once")
    path.write_text(text.replace(fault.right, fault.wrong), encoding="utf-8")


def copy_tree(folder: Path) -> Path:
    """A copy of all that the tests need."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


def run_tests(root: Path, tests: tuple[str, ...]) -> tuple[int, str]:
    """Status of pytest over ``tests``, stopped at the first failure, and its last line."""
    environment = {
        **os.environ,
        "DENSELANDMARKS_DATA": os.environ.get("DENSELANDMARKS_DATA", str(ROOT.parent / "shared" / "data")),
    }
    environment.pop("PYTHONPATH", None)
    command = [sys.executable, "-P", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    run = subprocess.run(
        command, cwd=root, env={**environment, "PYTHONPATH": str(root)}, capture_output=True, text=True, timeout=LIMIT_S
    )
    failed = [line for line in run.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return run.returncode, (failed or run.stdout.splitlines() or [run.stderr])[-1]


def try_fault(fault: Fault) -> tuple[bool, str]:
    """Whether the tests notice the fault, and which one did."""
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        root = copy_tree(Path(folder))
        plant(fault, root)
        status, said = run_tests(root, fault.tests)
    # Status 1 is a failed test; anything else that is not 0 is a mistake of this command.
    if status not in (0, 1):
        raise RuntimeError(f"{fault.name}: pytest ended with {status}: {said}")
    return status == 1, said


def main() -> int:
    """Plant all faults, or those named; returns 1 if any goes unnoticed."""
    parser = argparse.ArgumentParser(prog="python -m Testing.mutations", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="faults to plant; all when none is named")
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    unknown = set(arguments.names) - {fault.name for fault in FAULTS}
    if unknown:
        parser.error(f"expected names of faults, got {', '.join(sorted(unknown))}")
    faults = [fault for fault in FAULTS if not arguments.names or fault.name in arguments.names]
    # The same tests must be green without a fault, or red says nothing.
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        status, said = run_tests(copy_tree(Path(folder)), tuple(dict.fromkeys(t for f in faults for t in f.tests)))
    if status:
        print(f"expected green tests before any fault, got: {said}", file=sys.stderr)
        return 2
    unnoticed = 0
    started = time.perf_counter()
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for fault, (noticed, said) in zip(faults, pool.map(try_fault, faults), strict=True):
            unnoticed += not noticed
            print(f"{'noticed  ' if noticed else 'UNNOTICED'}  {fault.name:<32}  {said}", flush=True)
    print(f"{len(faults) - unnoticed} of {len(faults)} faults noticed in {time.perf_counter() - started:.0f} s")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
