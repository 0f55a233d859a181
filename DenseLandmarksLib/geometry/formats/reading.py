"""What surrounds every reader of somebody else's file: silence, and one line for whatever goes wrong in it."""

from __future__ import annotations

import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import SimpleITK as sitk

from DenseLandmarksLib.errors import InputError

logger = logging.getLogger(__name__)

_READERS = ("pydicom", "PIL")
_ONE_AT_A_TIME = threading.RLock()


@contextmanager
def quiet_readers() -> Iterator[None]:
    """Keep the readers' warnings, log records and prints off the terminal, for as long as they read.

    What is switched off belongs to the whole process, so of several threads one reads at a time.
    """
    with _ONE_AT_A_TIME, _quiet():
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    levels = {name: logging.getLogger(name).level for name in _READERS}
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    for name in _READERS:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings(), _silent_stderr():
            warnings.simplefilter("ignore")
            yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Close stderr to C code: MetaIO, libtiff and GDCM's JPEG decoders write to it past every switch."""
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (OSError, AttributeError, ValueError):  # an application without a terminal
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Read quietly, and turn whatever a reader raises into one :class:`InputError` about ``path``.

    Third-party parsers raise anything on damaged data. Only the type of the error is logged: its text may quote tags,
    and the path may name the patient.
    """
    try:
        with quiet_readers():
            yield
    except InputError:
        raise
    except ModuleNotFoundError as error:
        raise InputError(
            f"{path}: expected the package {error.name} to read a {kind} image, found none. "
            "Install it, or convert the image to DICOM or NRRD."
        ) from None
    except Exception as error:
        logger.debug("a %s image could not be decoded: %s", kind, type(error).__name__)
        raise InputError(
            f"{path}: expected a complete {kind} image, got one that is truncated, damaged or of an unusual kind; "
            "copy or export it again"
        ) from None
