"""Fuzz targets for everything that reads bytes from a network. See README.md; run them with `python -m fuzz`."""
