"""The node of this checkout, kept in .run/node: what `make node` and `make node-down` call."""

import signal
import sys
import time
from pathlib import Path

import click

from tools.cluster.binaries import kubernetes_version
from tools.host import try_lock
from tools.image import archive as image
from tools.node.keeper import OWNER
from tools.node.node import Node, end, require_node
from tools.node.programs import node_programs
from tools.programs import ToolError

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".run" / "node"


@click.group(help=__doc__)
def main() -> None:
    """Turn a plain request to end into an exception, so that every block tidies up behind itself."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


@main.command()
def build() -> None:
    """Build the node's programs into the cache, if they aren't there."""
    require_node()
    print(node_programs().get())


@main.command()
def up() -> None:
    """Start a node that has the operator's image, and write .run/node/kubeconfig."""
    started = time.monotonic()
    if _is_up():
        print("A node is already up here.")
    else:
        end(FOLDER)
        node = Node.create(images=[image.image_archive()], folder=FOLDER, detached=True)
        (FOLDER / "bin").symlink_to(node.programs)
        print(f"A node of Kubernetes {kubernetes_version()} is up after {time.monotonic() - started:.1f} s.")
    print(
        f"""
  export KUBECONFIG={FOLDER / "kubeconfig"} PATH={FOLDER / "bin"}:$PATH
  kubectl get pods --all-namespaces

It has the image of this checkout, {image.NAME}, and reaches no registry. Stop it with: make node-down"""
    )


@main.command()
def down() -> None:
    """End the node of `up`, and remove all of it."""
    print("The node is stopped and removed." if end(FOLDER) else "No node is up.")


def _is_up() -> bool:
    if not (FOLDER / OWNER).exists():
        return False
    if owner := try_lock(FOLDER / OWNER):
        owner.close()
    return owner is None


if __name__ == "__main__":
    try:
        main(prog_name="python -m tools.node")
    except ToolError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
