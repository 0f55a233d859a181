"""What predicts: networks, one predictor per model family, the bundle on disk and the registry of bundles."""
