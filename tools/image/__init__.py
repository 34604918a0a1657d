"""`make image`, `make image-check` and `make image-archive`. Needs Python alone, and no virtual environment."""
