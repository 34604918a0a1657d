"""Files that are generated from the code: written by `make generate`, compared by `make check`."""
