"""What `make image` asks of which builder; that the image is right is for `make image-check`."""

from contextlib import nullcontext

import pytest

from tools.image import __main__ as image
from tools.image.builders import Image, ImageError, Run, find_builder
from tools.image.check import check
from tools.image.context import ROOT, copy_sources, list_sources

VARIABLES = ("IMAGE", "BASE_IMAGE", "BUILDER", "BUILD_ARGS", "PIP_INDEX_URL", "SIGNER", "TRACING", "SOURCE_DATE_EPOCH")


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts programs that note how they are called into a PATH that has nothing else."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def install(name, *, works=True, says=""):
        program = folder / name
        ending = "exit 0" if works else f"echo 'Cannot connect to {name}' >&2; exit 1"
        program.write_text(f'#!/bin/sh\necho "{name} $*" >> {tmp_path}/calls\necho "{says}"\n{ending}\n')
        program.chmod(0o755)

    return install


@pytest.fixture
def calls(tmp_path):
    return lambda: (tmp_path / "calls").read_text().splitlines()


def test_the_first_builder_that_works_builds(install, calls):
    install("docker", works=False)
    install("podman")
    install("buildah")
    assert image.main("build") == 0
    assert calls()[-1].startswith(f"podman build --tag=maskinporten-operator:{image.version()} ")
    assert not [call for call in calls() if call.startswith("buildah")]


def test_a_builder_can_be_asked_for(install, monkeypatch, calls):
    install("podman")
    install("buildah")
    monkeypatch.setenv("BUILDER", "buildah")
    assert image.main("build") == 0
    assert calls()[-1].startswith("buildah build ")


def test_without_a_builder_it_says_what_it_tried(install, capsys):
    install("docker", works=False)
    assert image.main("build") == 1
    assert capsys.readouterr().err.splitlines() == [
        "Building the image takes docker, podman or buildah, and none works here:",
        "  docker: docker version --format … failed: Cannot connect to docker",
        "  podman: not installed",
        "  buildah: not installed",
    ]


def test_an_unknown_builder_is_refused(install):
    with pytest.raises(ImageError, match="BUILDER=kaniko is none of docker, podman, buildah"):
        find_builder("kaniko")


def test_a_failed_build_is_a_failure(install, capsys):
    install("docker")
    docker = find_builder(None)
    install("docker", works=False)
    with pytest.raises(ImageError, match="docker couldn't build t"):
        image.build(docker, "t")


def test_name_base_mirror_and_further_arguments_come_from_the_environment(install, monkeypatch, calls):
    install("buildah")
    monkeypatch.setenv("IMAGE", "registry.test/operator:1")
    monkeypatch.setenv("BASE_IMAGE", "base@sha256:0")
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.test/")
    monkeypatch.setenv("SIGNER", "aws")
    monkeypatch.setenv("TRACING", "true")
    monkeypatch.setenv("BUILD_ARGS", "--network=host -v '/a b:/a:ro'")
    image.main("build")
    assert calls()[-1].startswith(
        "buildah build --tag=registry.test/operator:1 --build-arg=BASE_IMAGE=base@sha256:0"
        " --build-arg=PIP_INDEX_URL=https://mirror.test/ --build-arg=SIGNER=aws --build-arg=TRACING=true "
    )
    assert " --network=host -v /a b:/a:ro " in calls()[-1]


@pytest.mark.parametrize("builder", ["docker", "podman", "buildah"])
def test_the_instant_is_that_of_the_commit(install, builder, calls):
    install(builder)
    install("git", says="1700000000")
    image.main("build")
    assert "SOURCE_DATE_EPOCH=1700000000" in calls()[-1]
    assert ("--timestamp=1700000000" in calls()[-1]) == (builder != "docker")


def test_the_instant_can_be_given(install, monkeypatch, calls):
    install("buildah")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1600000000")
    image.main("build")
    assert "--timestamp=1600000000" in calls()[-1]


def test_a_wrong_instant_is_refused(install, monkeypatch, capsys):
    install("buildah")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "today")
    assert image.main("build") == 1
    assert "SOURCE_DATE_EPOCH must be" in capsys.readouterr().err


@pytest.mark.parametrize("has_git", [True, False])
def test_outside_of_a_checkout_the_instant_is_fixed(install, has_git):
    if has_git:
        install("git", works=False)
    assert image.instant() == image.BEGIN_OF_ZIP


def test_the_second_build_is_from_other_times_and_modes(tmp_path):
    copy_sources(tmp_path)
    assert (tmp_path / "Dockerfile").read_bytes() == (ROOT / "Dockerfile").read_bytes()
    assert (tmp_path / "src/digdir_simulator/app.py").stat().st_mode & 0o777 == 0o600
    assert list_sources(tmp_path) == list_sources(ROOT)


class Twice:
    """A builder that built this, and in whose image every program says the same."""

    def __init__(self, *images, says=""):
        self._images = dict(zip("12", images, strict=True))
        self._says = says

    def inspect(self, tag):
        return self._images[tag]

    def runner(self, tag):
        return nullcontext(lambda *command: Run(0, self._says))


def test_images_that_differ_and_do_nothing_fail_at_everything(capsys):
    twice = Twice(Image("a", ("base", "a"), "0:0"), Image("b", ("base", "b"), "0:0"), says="x")
    assert check(twice, ["1", "2"], "0.1.0") is False
    assert {line[0] for line in capsys.readouterr().out.splitlines()} == {"✗"}


def test_equal_images_are_told_with_their_sizes(capsys):
    one = Image("a", ("base", "a"), "65532:65532", (132_000_000, 30_500_000), 400_000_000)
    check(Twice(one, one), ["1", "2"], "0.1.0")
    output = capsys.readouterr().out
    assert "✓ two builds have the same 2 layers" in output
    assert "✓ its user is a number, not root: 65532:65532" in output
    assert "162.5 MB, of which the last layer 30.5 MB" in output
    assert "400.0 MB" in output
