"""A library of chest phantoms in which somebody corrected what the shipped model said, and placed some points blind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from DenseLandmarksLib.annotation.case_state import ModelAnswer
from DenseLandmarksLib.annotation.library.comparison import landmarks_to_place
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.geometry.frames import lps_mm_from_pixels
from DenseLandmarksLib.models.bundle import load_bundle
from DenseLandmarksLib.models.registry import find_bundle, open_bundle
from training.demo import PHANTOM_SIZE
from training.phantoms import DEMO_SEEDS, draw_phantom, landmarks_of, phantom_image

CORRECTED, BLIND = 3, 3
_DRAGS = 6


def phantom_library(folder: Path) -> Library:
    """In each of three the worst landmarks are dragged to the truth; in three others twelve are placed there, unaided."""
    bundle, library = load_bundle(find_bundle("chest-xray")), Library.create(folder / "library", "phantoms")
    predictor = open_bundle(bundle, "cpu")
    for n, seed in enumerate(DEMO_SEEDS[: CORRECTED + BLIND]):
        phantom = draw_phantom(bundle.template, seed, PHANTOM_SIZE)
        image = phantom_image(phantom)
        sitk.WriteImage(image.volume, folder / f"phantom-{n}.nrrd")
        session = Session(library.add(folder / f"phantom-{n}.nrrd"), "an annotator", data_folder=folder / "elsewhere")
        truth_lps_mm = lps_mm_from_pixels(session.state.geometry, landmarks_of(bundle.template, phantom.contours))
        names = bundle.template.landmark_names
        if n < CORRECTED:
            session.take(ModelAnswer(predictor.predict(image), bundle.template, bundle.styles), image.geometry)
            error_mm = np.linalg.norm(session.state.landmarks.points_lps_mm - truth_lps_mm, axis=1)
            worst = np.argsort(-error_mm)[:_DRAGS]
            session.move({names[row]: truth_lps_mm[row] for row in worst})
            session.accept_remaining()
        else:
            structures = [one.name for one in bundle.template.structures for _ in one.landmark_names]
            session.start_blind(landmarks_to_place(names, structures, session.case.id))
            for name in session.state.landmarks.names:
                session.place(name, truth_lps_mm[names.index(name)])
        session.save()
        session.close()
    return library
