"""Finds secrets where none belong: by their values, for those that are known, and by their shape, for all.

A value is found if 39 characters of it stand in a row, as they are, within JSON, or in base64 of the text around them.
What is told of a find is its place and whose secret it is, never the secret.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode, urlsafe_b64decode
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PRIVATE_MEMBERS = ("d", "p", "q", "dp", "dq", "qi")
WINDOW = 16
"""Characters by which a value is known: no two of all that are about have so many in common by chance."""
STRIDE = 24
"""A value's windows begin so far apart; a text is looked at from every character on."""
RUN = re.compile(rf"[A-Za-z0-9+/]{{{WINDOW + STRIDE - 1},}}")
LIKE_BASE64URL = str.maketrans("-_", "+/")
MIN_SHAPE = 64
"""Characters in base64 in which a secret may be recognised."""
SHAPES = {
    "what looks like a JWT": re.compile(r"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,}"),
    "what looks like a private key in PEM": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY"),
    "what looks like a private member of a JWK": re.compile(r"""\b[dpq][pqi]?\\*["']?\s*[:=]\s*\\*["'][\w-]{40,}"""),
}


class Find(NamedTuple):
    """A secret in a text: where, in lines from 1, and what it is."""

    line: int
    what: str


class Canaries:
    """The secrets that are looked for."""

    def __init__(self) -> None:
        self._windows: dict[str, str] = {}
        self.known: set[str] = set()
        """What the secrets are that values are known of."""

    def add_jwk(self, jwk: Mapping[str, Any]) -> None:
        """Look for the private members of a key."""
        for member in PRIVATE_MEMBERS:
            if isinstance(value := jwk.get(member), str):
                self.add(f"{member} of key {jwk.get('kid')}", value)

    def add_token(self, what: str, token: str) -> None:
        """Look for a JWT: its claims and its signature, since the header is that of all."""
        for part in token.split(".")[1:]:
            self.add(what, part)

    def add(self, what: str, value: str) -> None:
        """Look for a value, which is base64url."""
        self.known.add(what)
        for form in _build_forms(value):
            for start in range(0, len(form) - WINDOW + 1, STRIDE):
                self._windows[form[start : start + WINDOW]] = what

    def find(self, text: str, *, by_shape: bool = True) -> list[Find]:
        """Find each kind of secret in a text, at its first place in each line."""
        found = {Find(text.count("\n", 0, position) + 1, what) for position, what in self._find(text, by_shape)}
        return sorted(found)

    def _find(self, text: str, by_shape: bool) -> Iterator[tuple[int, str]]:
        for run in RUN.finditer(text.translate(LIKE_BASE64URL)):
            yield from self._find_values(run.group(), run.start())
            if by_shape and len(run.group()) >= MIN_SHAPE:
                yield from ((run.start(), f"{what}, in base64") for what in _find_shapes(_decode(run.group())))
        if by_shape:
            yield from ((match.start(), what) for what, shape in SHAPES.items() for match in shape.finditer(text))

    def _find_values(self, run: str, start: int) -> Iterator[tuple[int, str]]:
        windows = self._windows
        for at in range(len(run) - WINDOW + 1):
            if (what := windows.get(run[at : at + WINDOW])) is not None:
                yield start + at, what


def find_jwk(text: str) -> Mapping[str, Any] | None:
    """Read a private JWK, however broken."""
    try:
        jwk = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return jwk if isinstance(jwk, dict) and "d" in jwk else None


def _build_forms(value: str) -> Iterator[str]:
    """Give how a value may be written: itself, and what base64 makes of it and of its bytes, wherever they begin."""
    yield value.translate(LIKE_BASE64URL)
    for content in (value.encode(), urlsafe_b64decode(value + "==")):
        for before in range(3):
            encoded = b64encode(b"\0" * before + content).decode()
            # The characters at either end are others' too.
            yield encoded[before + 1 if before else 0 : -4]


def _find_shapes(text: str) -> list[str]:
    return [what for what, shape in SHAPES.items() if shape.search(text)]


def _decode(run: str) -> str:
    return b64decode(run[: len(run) // 4 * 4]).decode("latin1")
