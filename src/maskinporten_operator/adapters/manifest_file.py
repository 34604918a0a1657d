"""Manifests in YAML or JSON, with the line of each field."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

try:
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # PyYAML without libyaml: the same, and ten times slower
    from yaml import SafeLoader  # type: ignore[assignment]  # a class of another name, used alike

from maskinporten_operator.model.resources import build_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_FIELDS = 300_000
"""Of one document; aliases can make more of a few lines than any program can hold."""
MAX_DEPTH = 100
"""Levels of a document; libyaml's composer ends the process at many more."""
MERGE = "<<"
_TAG = "tag:yaml.org,2002:"
FLOAT_TAG = f"{_TAG}float"
NUMBER_TAGS = frozenset({f"{_TAG}int", FLOAT_TAG})
JSON_TAGS = NUMBER_TAGS | {f"{_TAG}{name}" for name in ("str", "bool", "null", "seq", "map")}


class NoManifestError(Exception):
    """A text is no YAML, or nothing that kubectl would take; `line` is where, if that is known."""

    def __init__(self, message: str, line: int | None) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Document:
    """A document, or a member of a List; `lines` are those of its fields, by their paths, and its own by an empty one.

    `body` is what it says as JSON: objects, lists, texts, numbers, booleans and null.
    """

    body: Any
    lines: Mapping[str, int]

    def find_line(self, path: str) -> int:
        """Find the line of a field, or of the nearest one around it that is written."""
        while path not in self.lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.lines[path]


class _Loader(SafeLoader):
    """Reads YAML as kubectl does: dates are texts, and so is what has colons, which PyYAML takes for base 60."""

    _depth = 0

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        tag = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]  # the resolver has no types
        is_text = tag in {f"{_TAG}timestamp", f"{_TAG}value"} or (tag in NUMBER_TAGS and ":" in value)
        return f"{_TAG}str" if is_text else tag

    def descend_resolver(self, parent: Any, index: Any) -> None:
        super().descend_resolver(parent, index)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise RecursionError

    def ascend_resolver(self) -> None:
        super().ascend_resolver()
        self._depth -= 1


def read_documents(text: str) -> list[Document]:
    """Read the documents of a file, and the members of a List each for itself.

    Raises:
        NoManifestError: It is no YAML, and neither JSON; the text quotes nothing of it, which may be secret.
    """
    loader = _Loader(text)
    try:
        return list(_read_documents(loader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "it has characters that can't be in YAML"
        raise NoManifestError(
            f"can't be read as YAML: {problem}{_hint(text)}", mark.line + 1 if mark else None
        ) from None
    except (RecursionError, ValueError) as error:
        what = "it is nested too deeply" if isinstance(error, RecursionError) else "it has a value that is none"
        raise NoManifestError(f"can't be read as YAML: {what}", None) from None
    finally:
        loader.dispose()


def _hint(text: str) -> str:
    return ". It looks like a template: render it, and check what comes of it" if "{{" in text else ""


def _read_documents(loader: Any) -> Iterator[Document]:
    while loader.check_node():
        node = loader.get_node()
        document = _read_document(node, loader)
        if document.body is not None and not isinstance(document.body, dict | list):
            raise NoManifestError("is a text, and no object", document.lines[""])
        members = _find_members(node, document.body)
        yield from [_read_document(one, loader) for one in members.value] if members else [document]


def _read_document(node: yaml.Node, loader: Any) -> Document:
    lines = {"": node.start_mark.line + 1}
    _add_lines(node, "", lines)
    return Document(loader.construct_document(node), lines)


def _find_members(node: yaml.Node, body: Any) -> yaml.SequenceNode | None:
    """Find the members of a List, as `kubectl get -o yaml` writes it."""
    if not isinstance(body, dict) or body.get("kind") != "List":
        return None
    return next((one for key, one in node.value if key.value == "items" and isinstance(one, yaml.SequenceNode)), None)


def _add_lines(node: yaml.Node, path: str, lines: dict[str, int]) -> None:
    if len(lines) > MAX_FIELDS:
        raise NoManifestError("is too large", node.start_mark.line + 1)
    if node.tag == FLOAT_TAG and not _is_finite(node.value):
        raise NoManifestError("has a number that JSON can't hold", node.start_mark.line + 1)
    if node.tag not in JSON_TAGS:
        raise NoManifestError("has a value of a type of its own", node.start_mark.line + 1)
    members: list[tuple[yaml.Node, Any, yaml.Node]] = []
    if isinstance(node, yaml.MappingNode):
        members = [(key, key.value, inner) for key, inner in node.value if key.value != MERGE]
    elif isinstance(node, yaml.SequenceNode):
        members = [(inner, number, inner) for number, inner in enumerate(node.value)]
    for place, name, inner in members:
        where = build_path(path, [name]).removeprefix(".")
        line = place.start_mark.line + 1
        if where in lines:
            raise NoManifestError(f"{where} is written twice", line)
        lines[where] = line
        _add_lines(inner, where, lines)


def _is_finite(number: str) -> bool:
    try:
        return math.isfinite(float(number.replace("_", "")))
    except ValueError:  # .inf and .nan, as YAML has them
        return False
