"""Command-line options made from the configuration model, so that each setting is described once."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maskinporten_operator.config import Config, ConfigError, load_config

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from pydantic.fields import FieldInfo


SIGNS = {"passed": "✓", "warning": "!", "failed": "✗", "skipped": "-"}
"""What stands before a line that says how something is."""
NOTHING = "There is no Application or MaskinportenClient."


def count(number: int, noun: str) -> str:
    """Say how many there are of something."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def load_or_exit(flags: Mapping[str, Any], model: type[Config] = Config) -> Config:
    """Load the configuration from flags and environment; exit with 2 and a line for each fault if it can't be used."""
    try:
        return load_config(model, **flags)
    except ConfigError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)


def config_options(
    command: Callable[..., Any], names: Collection[str] = Config.model_fields, model: type[Config] = Config
) -> Callable[..., Any]:
    """Give a command an option for every setting, or for those of some names.

    Values are checked by the model, all at once, and not by click. The environment may hold any setting.
    """
    for name, field in reversed(model.model_fields.items()):
        if name not in names:
            continue
        help_text = f"{field.description}{_describe_default(field)}"
        option = click.option(f"--{name.replace('_', '-')}", name, metavar=_metavar(field), help=help_text)
        command = option(command)
    return command


def _describe_default(field: FieldInfo) -> str:
    if field.is_required():
        return "  [required]"
    return f"  [default: {_show(field.default)}]" if field.default not in {None, (), ""} else ""


def _show(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    if isinstance(value, timedelta):
        return f"{int(value.total_seconds())}s"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _metavar(field: FieldInfo) -> str:
    names: dict[Any, str] = {
        int: "NUMBER",
        bool: "true|false",
        Path: "FILE",
        Path | None: "FILE",
        timedelta: "DURATION",
    }
    if field.annotation in names:
        return names[field.annotation]
    if field.annotation == tuple[str, ...]:
        return "LIST"
    choices = getattr(field.annotation, "__args__", ())
    return "|".join(choices) if choices and all(isinstance(one, str) for one in choices) else "TEXT"
