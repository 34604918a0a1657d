"""How the operator's process gives memory back, seen in processes of their own."""

import subprocess
import sys

import pytest

PROGRAM = """
from pathlib import Path
{configure}
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20
bytes(24 * 2**20)  # freed at once: from now on glibc's heap has blocks of this size, unless it is told otherwise
before, kept, large = resident(), [], []
for _ in range(40):
    large.append(b"x" * 2**20)
    kept.append(b"x" * 4000)
large.clear()
print(resident() - before)
"""
CONFIGURE = "from maskinporten_operator.cli.process_memory import configure_memory; configure_memory()"


def grow(configure: str) -> float:
    """Give the MiB that a process has more after it freed 40 MiB, between which small blocks stay."""
    program = PROGRAM.format(configure=configure)
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return float(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc, and concerns glibc")
def test_large_blocks_go_back_to_the_kernel_when_they_are_freed():
    assert grow(CONFIGURE) < 5
