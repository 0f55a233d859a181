"""What is marked: landmark sets, templates, uv maps, and reading landmarks out of them."""
