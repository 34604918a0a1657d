"""The archive that is built here, read as a node's runtime reads it."""

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tools.host import try_lock
from tools.image.archive import NAME, WORK, _run_apart, check_machine, image_archive
from tools.image.builders import ImageError
from tools.image.context import ROOT
from tools.kube import wait_for


def observe_machine():
    """What a build could leave behind: mounts, and buildah's storage."""
    mounts = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    storage = [path for place in (WORK, "/run/containers") for path in sorted(Path(place).rglob("*"))]
    return mounts, Path(WORK).exists(), storage


@pytest.fixture(scope="module", autouse=True)
def machine():
    if reason := check_machine():
        pytest.skip(reason)


@pytest.fixture(scope="module")
def archive():
    with tarfile.open(image_archive()) as file:
        yield file


def read(archive, descriptor):
    """The document that an OCI descriptor names."""
    return json.load(archive.extractfile(f"blobs/{descriptor['digest'].replace(':', '/')}"))


def test_the_archive_names_one_image_that_runs_the_operator_as_a_number(archive):
    (descriptor,) = json.load(archive.extractfile("index.json"))["manifests"]
    assert descriptor["annotations"]["org.opencontainers.image.ref.name"] == NAME
    configuration = read(archive, read(archive, descriptor)["config"])["config"]
    assert configuration["User"] == "65532:65532"
    assert configuration["Entrypoint"] == ["maskinporten-operator"]
    (path,) = [value for value in configuration["Env"] if value.startswith("PATH=")]
    assert path.startswith("PATH=/opt/maskinporten-operator/bin:/usr/local/sbin:")


def test_what_reaches_the_package_index_is_in_no_layer(archive):
    (descriptor,) = json.load(archive.extractfile("index.json"))["manifests"]
    manifest = read(archive, descriptor)
    names = []
    for layer in manifest["layers"]:
        with tarfile.open(fileobj=archive.extractfile(f"blobs/{layer['digest'].replace(':', '/')}")) as content:
            names += content.getnames()
    assert "opt/maskinporten-operator/bin/maskinporten-operator" in {name.removeprefix("./") for name in names}
    assert not [name for name in names if "pip.conf" in name or name.startswith("src/")]
    assert "PIP_" not in json.dumps(read(archive, manifest["config"])["config"])


MOUNT = 'buildah mount "$(buildah from scratch)" > /dev/null'


def test_a_build_leaves_neither_mounts_nor_storage_behind(tmp_path):
    before = observe_machine()
    _run_apart(tmp_path, f"{MOUNT}; grep -q {WORK}/storage/overlay/ /proc/mounts")
    assert observe_machine() == before


def test_a_build_that_fails_leaves_neither_mounts_nor_storage_behind(tmp_path):
    before = observe_machine()
    with pytest.raises(ImageError, match="the last words"):
        _run_apart(tmp_path, f"{MOUNT}; echo the last words; false")
    assert observe_machine() == before


def test_a_build_ends_with_whoever_started_it(tmp_path):
    lock, started = tmp_path / "lock", tmp_path / "started"
    script = f"{MOUNT}; exec 9>> {lock}; flock 9; touch {started}; sleep 600"
    start = f"import pathlib, tools.image.archive as a; a._run_apart(pathlib.Path({str(tmp_path)!r}), {script!r})"
    before = observe_machine()
    with subprocess.Popen([sys.executable, "-c", start], cwd=ROOT) as starter:
        wait_for(started.exists, 60, "a build")
        assert try_lock(lock) is None
        starter.kill()
    # The lock is free when the last process that could hold it has ended.
    with wait_for(lambda: try_lock(lock), 10, "the end of the build"):
        assert observe_machine() == before
