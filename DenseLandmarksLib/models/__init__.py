"""What predicts: networks, one predictor per model family, the bundle on disk, its versions and the registry of bundles."""
