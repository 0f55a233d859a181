"""One predictor per model family: from an image to a :class:`~DenseLandmarksLib.models.prediction.Prediction`."""
