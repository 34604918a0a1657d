"""The image of the workload."""

from pathlib import Path

from tools.image.archive import image_archive

NAME = "localhost/workload:test"


def workload_archive() -> Path:
    """Return it as an OCI archive that names it `NAME`; it is built first if need be.

    Raises:
        ImageError: it can't be built.
    """
    return image_archive(Path(__file__).parent, NAME, "workload")
