"""Where things are: images with their true spacing, frames, and the grid that a model sees."""
