"""Which of the fields that somebody wrote the models declare: only these are kept, and the others named."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import islice
from typing import Any

from pydantic import BaseModel

UNREAD = "unread"
"""Where a body of which only the declared fields were kept names the others."""
MAX_UNREAD = 100
MAX_PATH_LENGTH = 80


def keep_declared(model: type[BaseModel], raw: Any) -> Any:
    """Leave out the fields that no model declares; what isn't of the declared type is left as it is."""
    if not isinstance(raw, Mapping):
        return raw
    fields = _find_fields(model)
    return {name: _keep_within(fields[name], value) for name, value in raw.items() if name in fields}


def _keep_within(inner: type[BaseModel] | None, value: Any) -> Any:
    if inner and isinstance(value, list):
        return [keep_declared(inner, member) for member in value]
    return keep_declared(inner, value) if inner else value


def find_unread(model: type[BaseModel], raw: Any, path: str) -> Iterator[str]:
    """Find the paths of the fields that are set, not to null, and that no model declares."""
    if not isinstance(raw, Mapping):
        return
    fields = _find_fields(model)
    for name, value in raw.items():
        where = f"{path}.{name}"
        if name not in fields and value is not None:
            yield where
        elif (inner := fields.get(name)) and isinstance(value, list):
            for number, member in enumerate(value):
                yield from find_unread(inner, member, f"{where}[{number}]")
        elif inner:
            yield from find_unread(inner, value, where)


@cache
def _find_fields(model: type[BaseModel]) -> Mapping[str, type[BaseModel] | None]:
    """Give the names of a model's fields, as they are written, with the model of what is in them, if any."""
    return {field.alias or name: _find_model(field.annotation) for name, field in model.model_fields.items()}


def _find_model(annotation: Any) -> type[BaseModel] | None:
    """Find the model in an annotation such as `Probe | None` or `tuple[Rule, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for one in typing.get_args(annotation) if (model := _find_model(one))), None)


def name_unread(model: type[BaseModel], raw: Any) -> list[str]:
    """Name the fields of a spec that no model declares, as many and as long as is worth telling."""
    return [path[:MAX_PATH_LENGTH] for path in islice(find_unread(model, raw, "spec"), MAX_UNREAD)]
