"""What must be true of the image: each is tried in it, as a pod would run it."""

import time
from collections.abc import Iterator

from tools.image.builders import Builder, Image, Run, Runner

ABSENT = ("ecdsa", "rsa", "pyasn1")
"""What python-jose only names, see docs/decisions/0002."""

_FIND = f"""
import importlib.util, os, re
wrong = [name for name in {(*ABSENT, "pip", "setuptools")} if importlib.util.find_spec(name)]
for folder, names, _ in os.walk("/"):
    names[:] = [] if folder in ("/proc", "/sys", "/dev") else names
    wrong += [f"{{folder}}/{{name}}" for name in names if re.match(r"({"|".join(ABSENT)})-.*-info$", name)]
import jose.jwt
print(*wrong)
"""

_WRITE = """
import os, sys
for path in ("/x", "/opt/maskinporten-operator/x", "/var/tmp/x", "/tmp/x"):
    try:
        open(path, "w").close()
        print(path, "written")
    except OSError as error:
        print(path, error.strerror)
print("user", os.getuid(), os.getgid())
"""

_COMPILED = """
import pathlib, sys
root = pathlib.Path("/opt/maskinporten-operator")
flags = {path.read_bytes()[4] for path in root.rglob("*.pyc")}
from maskinporten_operator.assembly import operator
print(flags, operator.__name__ if operator.__cached__ else "")
"""

_SIMULATE = """
import subprocess, urllib.request
command = ["digdir-simulator", "--port", "0", "--admin-jwk-file", "/tmp/admin.jwk", "--state-file", "/tmp/state.db"]
simulator = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
url = simulator.stdout.readline().split()[-1]
print(urllib.request.urlopen(url + "/api/v1/scopes/all").status)
simulator.terminate()
simulator.wait(5)
"""

_WRONG = ("run", "--cluster-name", "Wrong Name", "--digdir-base-url", "nowhere")

Finding = tuple[bool, str]
"""Whether it is as it must be, and what was found."""


def _compare(images: list[Image]) -> Iterator[Finding]:
    first, second = images
    yield first.layers == second.layers, f"two builds have the same {len(first.layers)} layers"
    yield first.identity == second.identity, f"and are the same image, {first.identity}"
    yield (
        first.user.partition(":")[0].isdigit() and first.user[0] != "0",
        f"its user is a number, not root: {first.user}",
    )
    if first.sizes:
        yield True, f"pulled: {sum(first.sizes) / 1e6:.1f} MB, of which the last layer {first.sizes[-1] / 1e6:.1f} MB"
    if first.size:
        yield True, f"unpacked: {first.size / 1e6:.1f} MB"


def _first_line(run: Run) -> str:
    return run.output.strip().partition("\n")[0] or "nothing was said"


def _last_line(run: Run) -> str:
    return run.output.strip().rpartition("\n")[2] or "nothing was said"


def _try(run: Runner, version: str) -> Iterator[Finding]:
    python = "/opt/maskinporten-operator/bin/python3"
    said = run(python, "-c", _WRITE).output.splitlines()
    read_only = [line for line in said if line.endswith("Read-only file system")]
    fine = len(read_only) == 3 and "/tmp/x written" in said  # noqa: S108 - in the image
    yield fine, f"its root file system is read-only: {'; '.join(said)}"
    result = run("maskinporten-operator", "--version")
    yield result.code == 0 and version in result.output, f"--version: {_last_line(result)}"
    begin = time.monotonic()
    result = run("maskinporten-operator", "run", "--help")
    yield result.code == 0 and "--cluster-name" in result.output, f"run --help, in {time.monotonic() - begin:.1f} s"
    for arguments in (("run",), _WRONG):
        result = run("maskinporten-operator", *arguments)
        fine = result.code == 2 and "configuration" in result.output and "Traceback" not in result.output
        yield fine, f"{' '.join(arguments)}: exit code {result.code}, {_first_line(result)}"
    result = run(python, "-c", _FIND)
    yield result.code == 0 and not result.output.strip(), f"{', '.join(ABSENT)}, pip: not there ({_last_line(result)})"
    result = run(python, "-c", _COMPILED)
    yield result.output.startswith("{1} maskin"), f"compiled once and for all: {_last_line(result)}"
    result = run(python, "-c", _SIMULATE)
    yield result.code == 0 and result.output.strip() == "200", f"the simulator answers: {_last_line(result)}"


def check(builder: Builder, tags: list[str], version: str) -> bool:
    """Check the images of two builds, and print each finding; tell whether all is well."""
    fine = True
    images = [builder.inspect(tag) for tag in tags]
    with builder.runner(tags[0]) as run:
        for is_so, text in (*_compare(images), *_try(run, version)):
            print("✓" if is_so else "✗", text)
            fine = fine and is_so
    return fine
