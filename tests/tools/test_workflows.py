"""The workflows for GitHub, which can't run here, are at least what GitHub takes."""

import subprocess

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
