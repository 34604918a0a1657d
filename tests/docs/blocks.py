"""What a page has its reader do: files to save, and commands to run, each with what it prints.

A command begins with `$ ` in a block of the language `console`, and goes on in the next lines for as long as the shell
wants more: after a backslash or a pipe, and within quotes or a loop. What follows is what it prints; nothing there
means that it isn't shown. A block with a `title` is a file of that name.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass

from markdown_it import MarkdownIt

ANYTHING = "…"
"""Stands for any text in a line that is shown, and alone in a line for any number of lines."""
PROMPT = "$ "


@dataclass(frozen=True)
class Heading:
    """The beginning of a section."""

    text: str


@dataclass(frozen=True)
class SavedFile:
    """A file that the reader saves."""

    name: str
    text: str


@dataclass(frozen=True)
class Command:
    """A command line, and what it prints: `shown` is empty if the page doesn't tell."""

    text: str
    shown: str
    line: int


def read_page(text: str) -> list[Heading | SavedFile | Command]:
    """Give what there is to do on a page, in its order."""
    found: list[Heading | SavedFile | Command] = []
    tokens = MarkdownIt().parse(text)
    for index, token in enumerate(tokens):
        if token.type == "heading_open":
            found.append(Heading(tokens[index + 1].content))
        elif token.type == "fence" and token.info.strip() == "console":
            found += _read_console(token.content, token.map[0] + 2)
        elif token.type == "fence" and (title := re.search(r'\btitle="([^"]+)"', token.info)):
            found.append(SavedFile(title[1], token.content))
    return found


def read_section(text: str, heading: str) -> list[Command]:
    """Give the commands below a heading, up to the next one."""
    section, found = "", []
    for one in read_page(text):
        if isinstance(one, Heading):
            section = one.text
        elif isinstance(one, Command) and section == heading:
            found.append(one)
    return found


def matches(shown: str, printed: str) -> bool:
    """Whether a command printed what is shown. Spaces between words count as one, since columns vary with values."""
    expected = "".join(_build_pattern(line) for line in shown.strip().splitlines())
    return (
        re.fullmatch(expected, "".join(f"{' '.join(line.split())}\n" for line in printed.strip().splitlines()))
        is not None
    )


def _build_pattern(line: str) -> str:
    if line.strip() == ANYTHING:
        return r"(?:.*\n)*?"
    return re.escape(" ".join(line.split())).replace(ANYTHING, ".*") + r"\n"


def _read_console(text: str, first_line: int) -> list[Command]:
    commands: list[Command] = []
    lines = list(enumerate(text.splitlines(), first_line))
    while lines:
        number, line = lines.pop(0)
        assert line.startswith(PROMPT), f"line {number} is no command: {line}"
        command = line.removeprefix(PROMPT)
        while _wants_more(command):
            command += f"\n{lines.pop(0)[1]}"
        shown = []
        while lines and not lines[0][1].startswith(PROMPT):
            shown.append(lines.pop(0)[1])
        commands.append(Command(command, "\n".join(shown), number))
    return commands


def _wants_more(command: str) -> bool:
    if command.endswith("\\"):
        return True
    parsed = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True, check=False)
    return "unexpected end of file" in parsed.stderr or "unexpected EOF" in parsed.stderr
