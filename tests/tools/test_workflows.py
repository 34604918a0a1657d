"""The workflows for GitHub, which can't run here, are at least what GitHub takes."""

import json
import os
import subprocess

import pytest
import yaml

from tools.supply_chain.pinned import ROOT, find_actionlint


def test_actionlint_finds_no_fault_with_the_workflows():
    done = subprocess.run([find_actionlint(), "-no-color"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "")


def test_actionlint_would_find_one(tmp_path):
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(
        "on: push\njobs:\n  a:\n    runs-on: ubuntu-24.04\n    steps:\n      - run: echo ${{ nothing.x }}\n"
    )
    done = subprocess.run([find_actionlint(), "-no-color", wrong], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert 'undefined variable "nothing"' in done.stdout


DIGEST = "sha256:" + "1" * 64
STAND_INS = {
    "docker": 'for one; do case $one in --metadata-file=*) echo "$ANSWER" > "${one#*=}";; esac; done',
    "cosign": 'echo "$@" >> "$SIGNED"',
    "helm": 'case $1 in push) echo "Digest: $DIGEST";; *) touch "build/maskinporten-operator-0.1.0.tgz";; esac',
}
"""What each program that needs a registry does instead."""


@pytest.fixture
def make(tmp_path):
    """Run targets of make with stand-ins for the programs that need a registry; give what was signed."""
    for name, script in STAND_INS.items():
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    def make(*arguments):
        environment = {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "DIGEST": DIGEST,
            "ANSWER": json.dumps({"containerimage.digest": DIGEST}),
            "SIGNED": str(tmp_path / "signed"),
            "GITHUB_OUTPUT": str(tmp_path / "output"),
        }
        subprocess.run(["make", *arguments], cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
        return (tmp_path / "signed").read_text().splitlines()

    return make


def test_what_is_pushed_is_signed_by_its_digest_and_so_is_its_sbom(make, tmp_path):
    signed = make("image-push", "image-sign", "IMAGE=registry.example:5000/some/name:v0.1.0")

    image = f"registry.example:5000/some/name@{DIGEST}"
    assert signed == [
        f"sign --yes {image}",
        f"attest --yes --type cyclonedx --predicate build/sbom.cdx.json {image}",
    ]
    assert (tmp_path / "output").read_text() == f"digest={DIGEST}\n"


def test_the_chart_is_signed_by_its_digest(make):
    assert make("chart-push", "CHART_REPOSITORY=oci://registry.example/charts") == [
        f"sign --yes registry.example/charts/maskinporten-operator@{DIGEST}"
    ]


def test_a_releases_image_has_the_tag_that_its_chart_asks_for_and_names_have_no_capitals(tmp_path):
    names = tmp_path / "names"
    environment = {**os.environ, "TAG": "v0.1.0", "GITHUB_REPOSITORY": "Some-Owner/Some-Name", "GITHUB_ENV": str(names)}
    subprocess.run(["make", "release-names"], cwd=ROOT, env=environment, check=True)
    chart = yaml.safe_load((ROOT / "deploy" / "chart" / "Chart.yaml").read_text())

    assert names.read_text().splitlines() == [
        "REPOSITORY=ghcr.io/some-owner/some-name",
        f"IMAGE=ghcr.io/some-owner/some-name:{chart['appVersion']}",
        "CHART_REPOSITORY=oci://ghcr.io/some-owner/charts",
    ]
