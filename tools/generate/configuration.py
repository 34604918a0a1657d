"""The table of settings from the configuration model."""

from __future__ import annotations

import typing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import HttpUrl

from maskinporten_operator.config import ENV_PREFIX, Config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic.fields import FieldInfo

INTRODUCTION = f"""\
<!-- Generated from src/maskinporten_operator/config.py by `make generate`; edit that instead. -->
# Configuration

Every setting is an environment variable, or a flag of `maskinporten-operator run`, which wins: `CLUSTER_NAME` below is
`{ENV_PREFIX}CLUSTER_NAME` or `--cluster-name`. An empty value is none, but for the addresses, where it means nowhere.

If values are wrong or missing, the operator names all of them in one message and ends with exit code 2 before it
touches anything.

* A **duration** is a number of seconds, or a number with a unit: `500ms`, `90s`, `30m`, `12h`, `7d`.
* A **list** has commas or spaces between its members.

`HTTPS_PROXY` and `NO_PROXY` hold for DigDir and Maskinporten. They never hold for the API server, which is found as
kubectl finds it: by `KUBECONFIG`, by the pod's ServiceAccount, or by the user's kubeconfig.

| Setting | Value | Default | Meaning |
|---|---|---|---|
"""

WORDS: Mapping[object, str] = {
    str: "text",
    int: "number",
    bool: "`true` or `false`",
    Path: "file",
    HttpUrl: "URL",
    timedelta: "duration",
}


def render_configuration() -> str:
    """Render docs/configuration.md."""
    return INTRODUCTION + "".join(_render_row(name, field) for name, field in Config.model_fields.items())


def _render_row(name: str, field: FieldInfo) -> str:
    cells = (f"`{name.upper()}`", _describe_value(field), _describe_default(field), field.description or "")
    return f"| {' | '.join(cells)} |\n"


def _describe_value(field: FieldInfo) -> str:
    kind: object = field.annotation
    arguments = [one for one in typing.get_args(kind) if one is not type(None)]
    if typing.get_origin(kind) is tuple:
        return "list"
    if typing.get_origin(kind) is typing.Literal:
        return ", ".join(f"`{one}`" for one in arguments)
    if len(arguments) == 1:
        kind = arguments[0]
    return WORDS[kind]


def _describe_default(field: FieldInfo) -> str:
    value = field.default
    if field.is_required():
        return "**required**"
    if value in (None, (), ""):
        return "–"
    if isinstance(value, tuple):
        return f"`{' '.join(value)}`"
    if isinstance(value, timedelta):
        return f"`{write_duration(value)}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def write_duration(value: timedelta) -> str:
    """Write a duration as a setting has it, in the largest unit that it is whole in."""
    seconds = int(value.total_seconds())
    for unit, length in (("h", 3600), ("m", 60)):
        if seconds and seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"
