"""Training and measuring the models: ``python -m training --help``. Knows no scene and no front end."""
