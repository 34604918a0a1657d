"""Where the tests have Prometheus from."""

import stat

import pytest

from tools.programs import MissingToolError
from tools.prometheus import prometheus


@pytest.fixture
def path(tmp_path, monkeypatch):
    """The one folder of PATH, and a cache that is empty."""
    folder = tmp_path / "path"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("MASKINPORTEN_OPERATOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("shutil.which", lambda name: str(found) if (found := folder / name).exists() else None)
    return folder


def install(folder, name, script=""):
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def test_those_that_are_installed_are_taken(path):
    install(path, "prometheus")
    install(path, "promtool")

    assert prometheus() == path


def test_debians_package_is_unpacked_once_and_not_installed(path, tmp_path):
    install(path, "apt-get", f"echo $@ >> {tmp_path}/asked; touch prometheus_1.deb")
    install(path, "dpkg-deb", "mkdir -p $3/usr/bin; touch $3/usr/bin/prometheus")

    assert prometheus() == prometheus()
    assert (prometheus() / "prometheus").exists()
    assert (tmp_path / "asked").read_text() == "-qq download prometheus\n"


def test_where_there_is_none_it_is_said_and_nothing_is_left(path, tmp_path):
    install(path, "apt-get", "echo E: Unable to locate package >&2; exit 100")

    with pytest.raises(MissingToolError, match=r"prometheus and promtool in PATH.*Unable to locate"):
        prometheus()
    assert [one.suffix for one in (tmp_path / "cache").iterdir()] == [".lock"]
