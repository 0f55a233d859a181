"""Files of landmarks that people made elsewhere, read into the frame of an image."""
