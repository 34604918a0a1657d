"""`make image` and `make image-check`. Needs Python alone, and no virtual environment."""
