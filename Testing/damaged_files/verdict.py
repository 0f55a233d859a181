"""What a reader may do with a damaged file: one line, in time, in little memory, and nothing else."""

from __future__ import annotations

from DenseLandmarksLib.annotation.exports.summary import SUMMARY_FILE
from Testing.damaged_files.generator import DamagedFile
from Testing.damaged_files.reader import LIMIT_SECONDS, Reading

LIMIT_BYTES = 2 << 30


def faults(file: DamagedFile, reading: Reading) -> list[str]:
    """Everything that is wrong with how reading ``file`` ended; nothing for a refusal in one line."""
    found = _wrong_outcome(file, reading)
    if reading.outcome == "refused":
        found += _not_one_line(file, reading.message)
    if reading.out or reading.error:
        found.append(f"printed {(reading.out + reading.error)[:200]!r}")
    return found + _excess(reading) + [f"left {name}" for name in reading.left_behind]


def predict_faults(file: DamagedFile, reading: Reading) -> list[str]:
    """The same for ``predict``: the line is on standard error, the status is 2, and only the summary was written."""
    found = _wrong_outcome(file, reading)
    if reading.outcome == "refused":
        found += _not_one_line(file, reading.error.removesuffix("\n"))
        if not reading.error.startswith("error: "):
            found.append(f"expected a line that begins with 'error: ', got {reading.error[:200]!r}")
        if reading.message != "status 2":
            found.append(f"ended with {reading.message}")
        found += [f"left {name}" for name in reading.left_behind if name != SUMMARY_FILE]
    return found + _excess(reading)


def _wrong_outcome(file: DamagedFile, reading: Reading) -> list[str]:
    if reading.outcome == "refused" or (reading.outcome == "read" and not file.must_fail):
        return []
    what = "accepted although damaged" if reading.outcome == "read" else reading.outcome
    return [f"{what}: {reading.message}"]


def _not_one_line(file: DamagedFile, message: str) -> list[str]:
    found = []
    if len(message.splitlines()) != 1 or not message.strip():
        found.append(f"not one line: {message[:200]!r}")
    if "Traceback" in message:
        found.append(f"a traceback: {message[-200:]!r}")
    if file.path.name not in message:
        found.append(f"the file is not named: {message[:200]!r}")
    return found


def _excess(reading: Reading) -> list[str]:
    found = []
    if reading.seconds > LIMIT_SECONDS:
        found.append(f"{reading.seconds:.1f} s")
    if reading.peak_bytes > LIMIT_BYTES:
        found.append(f"{reading.peak_bytes / 2**20:.0f} MiB")
    return found
