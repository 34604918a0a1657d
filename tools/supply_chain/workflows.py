"""Lint the workflows for GitHub by actionlint, which is built once from its pinned module."""

import subprocess
import sys

from tools.programs import ToolError
from tools.supply_chain.pinned import ROOT, find_actionlint


def main() -> int:
    """Lint them; what is wrong is printed."""
    try:
        return subprocess.run([find_actionlint(), "-no-color"], cwd=ROOT, check=False).returncode
    except ToolError as error:
        print(error, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
