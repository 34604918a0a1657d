"""The cluster of this checkout, kept in .run/cluster: what `make cluster` and `make cluster-down` call."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import click

from tools.cluster.administrator import ControlPlaneError
from tools.cluster.binaries import control_plane, helm3, kubernetes_version
from tools.cluster.kwok import Cluster, remove
from tools.host import locked
from tools.programs import MissingToolError, ToolError
from tools.progress import progress

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".run" / "cluster"
KUBECONFIG = FOLDER / "kubeconfig"
STATE = FOLDER / "state.json"


@click.group(help=__doc__)
def main() -> None:
    """Turn a plain request to end into an exception, so that every block tidies up behind itself."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


@main.command()
def build() -> None:
    """Build the control plane into the cache, if it isn't there."""
    print(control_plane())


@main.command("helm3")
def build_helm3() -> None:
    """Build Helm 3 into the cache, if it isn't there, and print its path."""
    print(helm3())


@main.command()
@click.option(
    "--cluster",
    "kind",
    type=click.Choice(["kwok", "kind", "current"]),
    default="kwok",
    envvar="CLUSTER",
    show_envvar=True,
    help="Start processes, have kind create it, or take the current kubectl context.",
)
def up(kind: str) -> None:
    """Start a cluster, or take one, and write .run/cluster/kubeconfig."""
    started = time.monotonic()
    with _only_one():
        if (there := _state()) and _answers():
            if there["kind"] != kind:
                raise ControlPlaneError(
                    f"A cluster of CLUSTER={there['kind']} is in use here; first: make cluster-down"
                )
            _explain(there, "is already up")
            return
        _down()
        try:
            state = {"kwok": _up_kwok, "kind": _up_kind, "current": _take_current}[kind]()
            STATE.write_text(json.dumps(state))
        except BaseException:
            _down()
            raise
    _explain(state, f"is up after {time.monotonic() - started:.1f} s")


@main.command()
def down() -> None:
    """End the cluster of `up`; one that was only taken is left as it is."""
    with _only_one():
        print(_down())


@contextmanager
def _only_one() -> Iterator[None]:
    """Keep two commands in the same checkout from working at the same time."""
    with ExitStack() as stack:
        with progress() as line:
            stack.enter_context(
                locked(
                    FOLDER.with_suffix(".lock"),
                    lambda: line.step("Another command works on this cluster; waiting for it"),
                )
            )
        yield


def _state() -> dict[str, str]:
    with suppress(FileNotFoundError):
        return dict(json.loads(STATE.read_text()))
    return {}


def _answers() -> bool:
    asked = _run([_kubectl(), "--kubeconfig", KUBECONFIG, "get", "--raw=/readyz", "--request-timeout=5s"])
    return asked.returncode == 0


def _up_kwok() -> dict[str, str]:
    programs = control_plane()
    with progress() as line:
        line.step("Starting the control plane")
        cluster = Cluster.create(folder=FOLDER)
    (FOLDER / "bin").symlink_to(programs)
    return {
        "kind": "kwok",
        "name": cluster.name,
        "server": cluster.server,
        "what": f"Kubernetes {kubernetes_version()}",
    }


def _up_kind() -> dict[str, str]:
    engine = next((name for name in ("docker", "podman") if _works(name, "info")), None)
    if not engine or not shutil.which("kind"):
        raise MissingToolError(
            "CLUSTER=kind needs kind (https://kind.sigs.k8s.io) and a running container engine, "
            "docker or podman; plain `make cluster` needs neither."
        )
    name = f"mpo-{secrets.token_hex(4)}"
    FOLDER.mkdir(parents=True)
    # Known from the first moment, so that whatever exists of it by then can be removed.
    STATE.write_text(json.dumps({"kind": "kind", "name": name, "engine": engine}))
    created = subprocess.run(
        ["kind", "create", "cluster", "--name", name, "--kubeconfig", KUBECONFIG, "--wait=120s"],
        env=_kind_environment(engine),
        check=False,
    )
    if created.returncode:
        raise ControlPlaneError("kind could not create the cluster; it says why above.")
    return {
        "kind": "kind",
        "name": name,
        "engine": engine,
        "server": _context().server,
        "what": f"kind {name}",
    }


def _take_current() -> dict[str, str]:
    context = _context(current=True)
    print(f"Context {context.name} at {context.server}")
    if os.environ.get("CLUSTER_CONFIRM") != "yes":
        if not sys.stdin.isatty():
            raise ControlPlaneError("Without a terminal to ask at, CLUSTER=current needs CLUSTER_CONFIRM=yes.")
        click.confirm("Use this cluster?", abort=True)
    FOLDER.mkdir(parents=True)
    # A copy of this one context: whoever switches contexts later doesn't switch clusters here.
    KUBECONFIG.touch(mode=0o600)
    KUBECONFIG.write_text(context.kubeconfig)
    return {
        "kind": "current",
        "name": context.name,
        "server": context.server,
        "what": f"Context {context.name}",
    }


class Context(NamedTuple):
    """A kubectl context and the kubeconfig that holds it alone."""

    name: str
    server: str
    kubeconfig: str


def _context(*, current: bool = False) -> Context:
    which = [] if current else [f"--kubeconfig={KUBECONFIG}"]
    asked = _run([_kubectl(), *which, "config", "view", "--minify", "--flatten", "--raw", "--output=json"])
    if asked.returncode:
        raise ControlPlaneError(f"kubectl has no current context: {asked.stderr.strip()}")
    document = json.loads(asked.stdout)
    server = document["clusters"][0]["cluster"]["server"]
    return Context(document["current-context"], server, asked.stdout)


def _down() -> str:
    state = _state()
    there = FOLDER.exists()
    if state.get("kind") == "kind":
        deleted = subprocess.run(
            ["kind", "delete", "cluster", "--name", state["name"], "--kubeconfig", KUBECONFIG],
            env=_kind_environment(state["engine"]),
            check=False,
        )
        if deleted.returncode:
            raise ControlPlaneError(f"kind could not delete {state['name']}; it says why above.")
    remove(FOLDER)
    if state.get("kind") == "current":
        return f"Context {state['name']} is no longer used here; the cluster itself is left as it is."
    return "The local cluster is stopped and removed." if there else "No local cluster is up."


def _explain(state: dict[str, str], condition: str) -> None:
    kubectl = FOLDER / "bin" / "kubectl" if state["kind"] == "kwok" else "kubectl"
    taken = state["kind"] == "current"
    print(f"{state['what']} {'is used here' if taken else condition}: {state['server']}\n")
    print(f"  export KUBECONFIG={KUBECONFIG}")
    print(f"  {kubectl} get nodes\n")
    print(f"{'Let go of it' if taken else 'Stop it'} with: make cluster-down")


def _kubectl() -> Path | str:
    """The cluster's own kubectl if it has one, else the installed one."""
    own = FOLDER / "bin" / "kubectl"
    if own.exists():
        return own
    if not shutil.which("kubectl"):
        raise MissingToolError("This needs kubectl (https://kubernetes.io/docs/tasks/tools/).")
    return "kubectl"


def _kind_environment(engine: str) -> dict[str, str]:
    return {**os.environ, "KIND_EXPERIMENTAL_PROVIDER": engine}


def _works(*command: str) -> bool:
    return bool(shutil.which(command[0])) and _run(list(command)).returncode == 0


def _run(command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, text=True, check=False)


if __name__ == "__main__":
    try:
        main(prog_name="python -m tools.cluster")
    except ToolError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
