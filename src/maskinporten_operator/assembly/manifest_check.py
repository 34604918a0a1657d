"""Files of manifests, checked by what the operator itself reads and decides."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

from maskinporten_operator.adapters.cluster.bodies import read_object
from maskinporten_operator.adapters.manifest_file import NoManifestError, read_documents
from maskinporten_operator.assembly.parameters import build_platform, build_registration_settings
from maskinporten_operator.model.resources import APPLICATION, FQDN_POLICY, INGRESS
from maskinporten_operator.plan.manifest_findings import Finding, Rule, find_findings, is_managed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from maskinporten_operator.adapters.manifest_file import Document
    from maskinporten_operator.config import Config
    from maskinporten_operator.model.resources import Kind

SUFFIXES = frozenset({".yaml", ".yml", ".json"})
STDIN = "-"
UNPARSABLE = frozenset({Rule.WRONG_VERSION, Rule.INVALID_FIELD})
"""What says that the operator couldn't parse a manifest."""
MAX_FILE_BYTES = 16 * 1024 * 1024
ASSUMED_SERVED: Mapping[str, frozenset[Kind]] = {
    "gcp": frozenset({INGRESS, FQDN_POLICY}),
    "onprem": frozenset({INGRESS}),
    "generic": frozenset({INGRESS}),
}
"""What is taken to be served, by the platform, as no API server is asked: EGRESS says it better than that."""


class UnreadableFileError(Exception):
    """A file can't be read; the text names it."""


@dataclass(frozen=True, slots=True)
class Located:
    """What was found, and where; `line` is None if that isn't known."""

    file: str
    line: int | None
    finding: Finding


@dataclass(slots=True)
class CheckReport:
    """What was found in which order, and how many manifests were looked at.

    Attributes:
        files: What was read, in that order.
        parsable: Each manifest that can be parsed, with its file and document.
    """

    manifests: int = 0
    found: list[Located] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    parsable: list[tuple[str, Document, Mapping[str, Any]]] = field(default_factory=list)

    def add(self, file: str, document: Document, found: Iterable[Finding]) -> None:
        """Add what was found in a document."""
        self.found += [Located(file, document.find_line(one.path), one) for one in found]

    def sort(self) -> None:
        """Put what was found in the order of the files and their lines."""
        order = {name: number for number, name in enumerate(dict.fromkeys(self.files))}
        self.found.sort(key=lambda one: (order[one.file], one.line or 0))

    def count(self, level: str) -> int:
        """Count what was found of a level."""
        return sum(one.finding.rule.level == level for one in self.found)


def check_files(paths: Iterable[Path], config: Config, namespace: str) -> CheckReport:
    """Check the manifests in files, in directories and below them, and in what stands for standard input.

    Raises:
        UnreadableFileError: A file isn't there, can't be read, or is no text.
    """
    settings = build_registration_settings(config)
    platform = build_platform(config, ASSUMED_SERVED[config.platform])
    report = CheckReport()
    for name, text in _read_files(paths):
        report.files.append(name)
        try:
            documents = [one for one in read_documents(text) if is_managed(one.body)]
        except NoManifestError as error:
            report.found.append(Located(name, error.line, Finding(Rule.NO_MANIFEST, "", str(error))))
            continue
        report.manifests += len(documents)
        for one in documents:
            stored = _read_as_stored(one.body)
            found = find_findings(stored, namespace, settings, platform)
            report.add(name, one, sorted(found, key=lambda finding: one.find_line(finding.path)))
            if not any(finding.rule in UNPARSABLE for finding in found):
                report.parsable.append((name, one, stored))
    return report


def _read_as_stored(body: Mapping[str, Any]) -> dict[str, Any]:
    """Read a manifest within the limits within which the operator reads what is stored of it."""
    written = from_json(to_json(body))
    return read_object(to_json({**written, "metadata": {}})) | {"metadata": written.get("metadata")}


def _read_files(paths: Iterable[Path]) -> Iterator[tuple[str, str]]:
    for path in paths:
        if str(path) == STDIN:
            yield "stdin", _decode("stdin", sys.stdin.buffer.read(MAX_FILE_BYTES + 1))
        elif path.is_dir():
            for one in _list_files(path):
                text = _read(one)
                if APPLICATION.group in text:  # others hold no manifest of ours, and may be templates or no YAML
                    yield str(one), text
        else:
            yield str(path), _read(path)


def _list_files(directory: Path) -> list[Path]:
    """List the files of manifests in a directory and below it, but for hidden ones."""
    found = (one for one in directory.rglob("*") if one.suffix in SUFFIXES and one.is_file())
    return sorted(one for one in found if not any(part[0] == "." for part in one.relative_to(directory).parts))


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return _decode(str(path), file.read(MAX_FILE_BYTES + 1))
    except OSError as error:
        raise UnreadableFileError(f"{path}: {error.strerror}") from None


def _decode(name: str, data: bytes) -> str:
    if len(data) > MAX_FILE_BYTES:
        raise UnreadableFileError(f"{name}: is larger than {MAX_FILE_BYTES // 1024 // 1024} MiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnreadableFileError(f"{name}: is no text in UTF-8") from None
