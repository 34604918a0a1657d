"""Measures the operator's figures, prints them as tables and writes them as JSON.

Needs a machine that does nothing else: two cores, and about two hours for all
of them, of which fail-overs and outages take most.
"""

from __future__ import annotations

import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from bench.figures import RESULTS, describe_machine, render, write
from bench.measurements import BENCHMARKS, Bench
from bench.scale import FULL, QUICK
from tools.cluster import control_plane
from tools.programs import ToolError
from tools.progress import Progress


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", multiple=True, type=click.Choice(list(BENCHMARKS)), help="One benchmark; may be repeated.")
@click.option("--quick", is_flag=True, help="Small numbers: shows that it works, and measures nothing.")
@click.option(
    "--json",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write the JSON; by default bench/results/<time>.json.",
)
def main(*, only: tuple[str, ...], quick: bool, path: Path | None) -> None:
    """Run the benchmarks one after the other. What was measured before a fault is written too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    control_plane()
    scale = QUICK if quick else FULL
    path = path or RESULTS / f"{datetime.now(UTC):%Y%m%d-%H%M%S}{'-quick' if quick else ''}.json"
    print(", ".join(f"{name} {value}" for name, value in describe_machine().items()))
    print("SMALL NUMBERS: this shows that the benchmarks work, and measures nothing.\n" if quick else "")
    line = Progress()
    sections = []
    try:
        with Bench(scale, line.step) as bench:
            for name, measure in BENCHMARKS.items():
                if not only or name in only:
                    line.step(name)
                    section = measure(bench)
                    sections.append(section)
                    line.clear()
                    print(render(section), flush=True)
    finally:
        if sections:
            write(path, sections, scale.name)
            print(f"written to {path}")
    missed = [f"{section.name}: {one.what}" for section in sections for one in section.figures if one.met is False]
    if missed:
        print("not as they should be:\n  " + "\n  ".join(missed))


if __name__ == "__main__":
    try:
        main(prog_name="python -m bench")
    except ToolError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
