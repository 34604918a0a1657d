"""Build the image; build it twice and check it; or have it in a file for the tests' node.

What the first two do it with and from comes from the environment:

IMAGE       name:tag; by default maskinporten-operator and the version of pyproject.toml
BASE_IMAGE  an image with Python 3.11 or newer; by default the Dockerfile's. Name it by its digest for builds that
            give the same image on another day
SIGNER, TRACING  the Dockerfile's build arguments of these names
BUILDER     docker, podman or buildah; by default the first that works
BUILD_ARGS  more arguments for the builder
SOURCE_DATE_EPOCH  instant of everything in the image; by default that of the commit
"""

import os
import shlex
import sys
import tempfile
import tomllib
from contextlib import suppress
from pathlib import Path

from tools.image.archive import image_archive
from tools.image.builders import Builder, ImageError, ask, find_builder
from tools.image.check import check
from tools.image.context import BEGIN_OF_ZIP, ROOT, copy_sources


def version() -> str:
    """Return the project's version."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return str(document["project"]["version"])


def instant() -> int:
    """Return the instant of everything in the image, in epoch seconds.

    Raises:
        ImageError: SOURCE_DATE_EPOCH isn't one.
    """
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given is not None:
        if not given.isdigit():
            raise ImageError("SOURCE_DATE_EPOCH must be a number of seconds since 1970")
        return int(given)
    try:
        return int(ask("git", "-C", str(ROOT), "log", "-1", "--format=%ct"))
    except (ImageError, FileNotFoundError, ValueError):
        # Outside of a checkout
        return BEGIN_OF_ZIP


def build(builder: Builder, tag: str, context: Path = ROOT, *more: str) -> None:
    """Build the image as the environment says.

    Raises:
        ImageError: it can't be built.
    """
    names = ("BASE_IMAGE", "PIP_INDEX_URL", "SIGNER", "TRACING")
    arguments = {name: value for name in names if (value := os.environ.get(name))}
    builder.build(context, tag, arguments, instant(), *more, *shlex.split(os.environ.get("BUILD_ARGS", "")))


def build_twice_and_check(builder: Builder) -> bool:
    """Build the image twice, compare and check it; tell whether all is well.

    Raises:
        ImageError: it can't be built or run.
    """
    tags = [f"localhost/maskinporten-operator-check:{number}" for number in (1, 2)]
    try:
        build(builder, tags[0], ROOT, "--no-cache")
        with tempfile.TemporaryDirectory() as folder:
            copy_sources(Path(folder))
            build(builder, tags[1], Path(folder), "--no-cache")
        return check(builder, tags, version())
    finally:
        for tag in tags:
            with suppress(ImageError):  # it isn't there
                builder.remove(tag)


def main(command: str) -> int:
    """Carry out `command`: build, check or archive."""
    try:
        if command == "archive":
            print(image_archive())
            return 0
        builder = find_builder(os.environ.get("BUILDER") or None)
        if command == "check":
            return 0 if build_twice_and_check(builder) else 1
        tag = os.environ.get("IMAGE") or f"maskinporten-operator:{version()}"
        build(builder, tag)
    except ImageError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{tag} is built, by {builder.name}")
    return 0


if __name__ == "__main__":
    if sys.argv[1:] not in (["build"], ["check"], ["archive"]):
        sys.exit(f"usage: python3 -m tools.image build|check|archive\n\n{__doc__}")
    sys.exit(main(sys.argv[1]))
