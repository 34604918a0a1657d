"""What each command says of itself, as a page."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import click
from click.testing import CliRunner

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = ("maskinporten-operator", "digdir-simulator", "digdir-simulator-admin-key")
INTRODUCTION = """\
<!-- Generated from what the commands say of themselves by `make generate`; edit that instead. -->
# Command line

What `--help` says of each command. [Commands](commands.md) has what they are for, and examples.
"""


def render_command_line() -> str:
    """Render docs/command-line.md."""
    return INTRODUCTION + "".join(part for name in PROGRAMS for part in _render(name, _find_program(name)))


def _find_program(name: str) -> click.Command:
    (found,) = entry_points(group="console_scripts", name=name)
    program = found.load()
    assert isinstance(program, click.Command)
    return program


def _render(name: str, command: click.Command, *path: str) -> Iterator[str]:
    done = CliRunner().invoke(command, [*path, "--help"], prog_name=name, terminal_width=110, catch_exceptions=False)
    yield f"\n## {' '.join((name, *path))}\n\n```text\n{done.stdout.strip()}\n```\n"
    if isinstance(command, click.Group) and not path:
        for one in command.commands:
            yield from _render(name, command, one)
