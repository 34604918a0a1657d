"""Custom resource definitions from the pydantic models of the resources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from maskinporten_operator.model.application import APPLICATION_NAME_RULE, ApplicationSpec, ApplicationStatus
from maskinporten_operator.model.maskinportenclient import MaskinportenClientSpec, MaskinportenClientStatus
from maskinporten_operator.model.resources import APPLICATION, MASKINPORTEN_CLIENT, NAME_RULE, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

    Schema = dict[str, Any]

HEADER = "# Generated from src/maskinporten_operator/model by `make generate`; edit the models instead.\n"

DROPPED = frozenset({"title", "default", "$defs"})
"""Titles say nothing new. Defaults would be written into stored objects; the descriptions tell them."""

UNOBSERVED = {"observedGeneration": -1}
"""The status of a resource that has none yet: kstatus takes one without an observed generation for current."""
PRESERVE = "x-kubernetes-preserve-unknown-fields"
INT_OR_STRING = "x-kubernetes-int-or-string"
COPIED = frozenset(
    {
        "description",
        "enum",
        "format",
        "maxItems",
        "maxLength",
        "maximum",
        "minItems",
        "minLength",
        "minimum",
        "pattern",
        "required",
        "type",
        INT_OR_STRING,
        "x-kubernetes-list-map-keys",
        "x-kubernetes-list-type",
        "x-kubernetes-validations",
    }
)


class UnsupportedSchemaError(Exception):
    """A model uses something that this generator can't say in a structural schema."""


class _PlainDumper(yaml.SafeDumper):
    """Writes a value that occurs twice out twice: YAML's anchors are no help to a reader of a CRD."""

    def ignore_aliases(self, _: object) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Definition:
    """What a CRD says that the models don't.

    Attributes:
        kind: The kind.
        description: One sentence for `kubectl explain`.
        short_names: What people type; `app` is also that of another project's Applications.
        name_rule: The CEL rule for names, and its message.
        spec: The model of the spec.
        status: The model of the status.
        columns: What `kubectl get` shows: heading, type and path.
        open: Whether fields of the spec that no model declares are kept, at every level.
    """

    kind: Kind
    description: str
    short_names: tuple[str, ...]
    name_rule: tuple[str, str]
    spec: type[BaseModel]
    status: type[BaseModel]
    columns: tuple[tuple[str, str, str], ...]
    open: bool


READY = ".status.conditions[?(@.type=='Ready')]"
AGE = ("Age", "date", ".metadata.creationTimestamp")
DEFINITIONS = {
    MASKINPORTEN_CLIENT: Definition(
        MASKINPORTEN_CLIENT,
        "A client at Maskinporten, registered through DigDir's self-service API.",
        ("maskinportenclient",),
        NAME_RULE,
        MaskinportenClientSpec,
        MaskinportenClientStatus,
        (
            ("Secret", "string", ".spec.secretName"),
            ("Client ID", "string", ".status.clientID"),
            ("Ready", "string", f"{READY}.status"),
            ("Reason", "string", f"{READY}.reason"),
            AGE,
        ),
        open=False,
    ),
    APPLICATION: Definition(
        APPLICATION,
        "An application, with its client at Maskinporten, its workload and its way out.",
        ("app", "naisapp"),
        APPLICATION_NAME_RULE,
        ApplicationSpec,
        ApplicationStatus,
        (
            ("Ready", "string", f"{READY}.status"),
            ("Reason", "string", f"{READY}.reason"),
            ("Client", "string", ".status.clientID"),
            ("Image", "string", ".spec.image"),
            AGE,
        ),
        open=True,
    ),
}


def render_crd(kind: Kind) -> str:
    """Render a CRD as YAML."""
    document = build_crd(DEFINITIONS[kind])
    return HEADER + yaml.dump(document, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, width=120)


def build_crd(definition: Definition) -> Schema:
    """Build a CRD."""
    kind = definition.kind
    rule, message = definition.name_rule
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{kind.group}"},
        "spec": {
            "group": kind.group,
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.name.lower(),
                "shortNames": list(definition.short_names),
                "categories": ["nais", "maskinporten"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": kind.version,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        {"name": name, "type": what, "jsonPath": path} for name, what, path in definition.columns
                    ],
                    "schema": {
                        "openAPIV3Schema": {
                            "description": definition.description,
                            "type": "object",
                            "required": ["spec"],
                            "x-kubernetes-validations": [
                                # A name never changes: an object from before the rule can be changed, and so deleted.
                                {"rule": f"oldSelf.hasValue() || ({rule})", "message": message, "optionalOldSelf": True}
                            ],
                            "properties": {
                                "apiVersion": {"type": "string"},
                                "kind": {"type": "string"},
                                "metadata": {"type": "object"},
                                "spec": build_structural_schema(definition.spec, is_open=definition.open),
                                "status": build_structural_schema(definition.status) | {"default": UNOBSERVED},
                            },
                        }
                    },
                }
            ],
        },
    }


def build_structural_schema(model: type[BaseModel], *, is_open: bool = False) -> Schema:
    """Turn a model into a structural OpenAPI schema: every node inline, with one type and no defaults.

    Args:
        model: The model.
        is_open: Whether every object keeps fields that no model declares: the flag holds for one level only.

    Raises:
        UnsupportedSchemaError: The model uses something beyond what a resource needs.
    """
    document = model.model_json_schema(by_alias=True, mode="validation")
    schema = _convert(document, document.get("$defs", {}), model.__name__)
    return _open(schema) if is_open else schema


def _open(node: Schema) -> Schema:
    """Add the flag to every object but those whose members are all described by one schema."""
    opened = {
        keyword: {name: _open(child) for name, child in value.items()}
        if keyword == "properties"
        else _open(value)
        if keyword == "items"
        else value
        for keyword, value in node.items()
    }
    if node.get("type") == "object" and "additionalProperties" not in node:
        opened[PRESERVE] = True
    return opened


def _convert(node: Mapping[str, Any], definitions: Mapping[str, Any], path: str) -> Schema:
    merged = _resolve(node, definitions, path)
    result: Schema = {}
    for keyword, value in merged.items():
        match keyword:
            case "properties":
                result[keyword] = {
                    name: _convert(child, definitions, f"{path}.{name}") for name, child in value.items()
                }
            case "items" | "additionalProperties" if isinstance(value, dict):
                result[keyword] = _convert(value, definitions, f"{path}[]")
            case "const":
                result["enum"] = [value]
            case _ if keyword in COPIED:
                result[keyword] = value
            case _ if keyword not in DROPPED:
                raise UnsupportedSchemaError(f"{path}: {keyword} has no place in a structural schema")
    if "type" not in result and INT_OR_STRING not in result:
        raise UnsupportedSchemaError(f"{path} has no single type")
    return {keyword: result[keyword] for keyword in sorted(result, key=_rank)}


def _resolve(node: Mapping[str, Any], definitions: Mapping[str, Any], path: str) -> Schema:
    """Put a referred definition, and the one alternative to null, in the place of what stands for it."""
    merged = dict(node)
    if alternatives := merged.pop("anyOf", None):
        # An optional field of a resource is absent, never null: the API server drops nulls before it validates.
        others = [one for one in alternatives if one != {"type": "null"}]
        if len(others) != 1:
            raise UnsupportedSchemaError(f"{path} may be of several types")
        merged = {**_resolve(others[0], definitions, path), **merged}
    if reference := merged.pop("$ref", None):
        merged = {**_resolve(definitions[reference.rpartition("/")[2]], definitions, path), **merged}
    return merged


def _rank(keyword: str) -> tuple[int, str]:
    """What a reader looks for first stands first."""
    order = ("description", "type", "format", "required", "properties", "items")
    return (order.index(keyword) if keyword in order else len(order), keyword)
