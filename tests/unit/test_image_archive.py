"""The cache of the image's archives, without a build: what makes another archive, and what is said and kept."""

import configparser
import os
import sys
from pathlib import Path

import pytest

from tools.image import __main__ as command
from tools.image import archive
from tools.image.builders import ImageError
from tools.image.context import ROOT, compute_digest, copy_sources, list_sources


@pytest.fixture
def checkout(tmp_path):
    """A checkout's part that the image is built from."""
    folder = tmp_path / "checkout"
    copy_sources(folder)
    return folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setenv("MASKINPORTEN_OPERATOR_CACHE", str(folder))
    return folder


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts programs into a PATH that has nothing else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def install(*names, says="", fails=""):
        for name in names:
            program = folder / name
            program.write_text(f"#!/bin/sh\necho '{says}'\n" + (f"echo '{fails}' >&2; exit 1\n" if fails else ""))
            program.chmod(0o755)

    return install


@pytest.fixture
def is_root(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.mark.parametrize(
    "name",
    [
        "Dockerfile", ".dockerignore", "pyproject.toml", "README.md", "LICENSE", "requirements/runtime.txt",
        "requirements/dev.txt", "src/maskinporten_operator/cli/__init__.py", "src/digdir_simulator/app.py",
    ],
)  # fmt: skip
def test_each_source_of_the_image_makes_another_archive(checkout, name):
    before = compute_digest(checkout)
    with (checkout / name).open("a") as file:
        file.write("\n")
    assert compute_digest(checkout) != before


def test_a_source_that_is_new_gone_or_renamed_makes_another_archive(checkout):
    module = checkout / "src/maskinporten_operator/new.py"
    seen = [compute_digest(checkout)]
    module.touch()
    seen.append(compute_digest(checkout))
    module.rename(module.with_name("newer.py"))
    seen.append(compute_digest(checkout))
    (checkout / "LICENSE").unlink()
    seen.append(compute_digest(checkout))
    assert len(set(seen)) == len(seen)


def test_what_is_not_in_the_image_makes_no_other_archive(checkout):
    before = compute_digest(checkout)
    for name in (
        "CHANGELOG.md", "tests/unit/test_x.py", "tools/image/x.py", ".git/HEAD",
        "src/maskinporten_operator/__pycache__/cli.cpython-311.pyc", "src/maskinporten_operator.egg-info/PKG-INFO",
    ):  # fmt: skip
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("x")
    assert compute_digest(checkout) == before


def test_times_modes_and_order_make_no_other_archive(checkout):
    assert compute_digest(checkout) == compute_digest(ROOT)


def test_every_line_of_dockerignore_is_understood_or_refused(checkout):
    assert {path.parts[0] for path in list_sources(checkout)} == {
        "Dockerfile", ".dockerignore", "pyproject.toml", "README.md", "LICENSE", "requirements", "src",
    }  # fmt: skip
    with (checkout / ".dockerignore").open("a") as file:
        file.write("src/*/secret\n")
    with pytest.raises(ImageError, match=r"this line of \.dockerignore: src/\*/secret"):
        list_sources(checkout)


def test_without_root_it_says_so(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert archive.check_machine() == "Building the image for the tests' node takes root."


def test_elsewhere_than_on_linux_it_says_so(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert archive.check_machine() == "Building the image for the tests' node takes Linux."


def test_it_names_the_packages_that_are_missing(install, is_root):
    install("unshare", "setpriv")
    assert archive.check_machine() == (
        "Building the image for the tests' node takes what is missing here: apt-get install buildah debootstrap"
    )


def test_it_says_that_namespaces_are_refused(install, is_root):
    install(*archive.PROGRAMS)
    install("setpriv", fails="unshare: unshare failed: Operation not permitted")
    said = archive.check_machine()
    assert said.startswith("Building the image for the tests' node takes mounts and PIDs of its own: ")
    assert said.endswith("Operation not permitted")


def test_a_machine_that_has_all_is_fine(install, is_root):
    install(*archive.PROGRAMS)
    assert archive.check_machine() is None


def test_what_is_missing_ends_the_command_with_that_sentence(cache, install, is_root, capsys):
    assert command.main("archive") == 1
    assert "apt-get install buildah debootstrap util-linux" in capsys.readouterr().err
    assert [path.name for path in cache.iterdir()] == ["image.lock"]


def test_an_archive_that_is_there_takes_nothing_of_the_machine(cache, install, capsys):
    path = archive._path("image", archive._image_key(archive.NAME, compute_digest()))
    path.write_bytes(b"x")
    os.utime(path, (0, 0))
    assert command.main("archive") == 0
    assert Path(capsys.readouterr().out.strip()) == path
    assert path.stat().st_mtime > 0


def test_the_archives_used_last_are_kept(cache):
    for number in range(1, archive.KEPT + 2):
        for kind in ("image", "debian"):
            path = archive._path(kind, str(number))
            path.touch()
            os.utime(path, (number, number))
    used = archive._path("image", "1")
    archive._use(used, "image")
    left = {path.name for path in cache.glob("image-*")}
    assert len(left) == archive.KEPT
    assert used.name in left
    assert "image-2.tar" not in left
    assert len(list(cache.glob("debian-*"))) == archive.KEPT + 1


def test_a_build_that_fails_says_its_last_lines_and_leaves_no_archive(cache, tmp_path, install, monkeypatch):
    install("apt-get", says="http://mirror.test/debian/")
    install("setpriv", says="E: Couldn't download packages".replace("'", ""), fails="and ended")
    monkeypatch.setattr(archive, "check_machine", lambda: None)
    with pytest.raises(ImageError, match=r"couldn't be built:\nE: Couldnt download packages\nand ended"):
        archive.image_archive()
    assert [path.name for path in cache.iterdir()] == ["image.lock"]


def test_a_machine_without_the_release_says_so(install):
    with pytest.raises(ImageError, match="apt knows no source of it"):
        archive._find_mirror()
    install("apt-get")
    with pytest.raises(ImageError, match="apt knows no source of it"):
        archive._find_mirror()


def test_pip_in_the_build_reaches_the_index_as_pip_here_does(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    certificate = tmp_path / "ca.pem"
    certificate.write_text("of the mirror")
    configuration = tmp_path / "pip.conf"
    configuration.write_text(
        f"[global]\nindex-url = https://file.test/\nextra-index-url =\n  https://one.test/\n  https://two.test/\n"
        f"cert = {certificate}\nno-deps = true\n[install]\nuser = true\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(configuration))
    monkeypatch.setenv("PIP_INDEX_URL", "https://environment.test/")
    target = tmp_path / "target"
    target.mkdir()
    archive._write_pip_configuration(target)
    written = configparser.RawConfigParser()
    written.read(target / "pip.conf")
    assert written.sections() == ["global"]
    assert written["global"].keys() >= {"index-url", "extra-index-url", "cert"}
    assert "no-deps" not in written["global"]
    assert written["global"]["index-url"] == "https://environment.test/"
    assert written["global"]["extra-index-url"].split() == ["https://one.test/", "https://two.test/"]
    assert (target / Path(written["global"]["cert"]).name).read_text() == "of the mirror"
