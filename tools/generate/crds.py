"""Custom resource definitions from the pydantic models of the resources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from maskinporten_operator.model.resources import (
    GROUP,
    KIND,
    NAME_RULE,
    PLURAL,
    VERSION,
    MaskinportenClientSpec,
    MaskinportenClientStatus,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

    Schema = dict[str, Any]

HEADER = "# Generated from src/maskinporten_operator/model/resources.py by `make generate`; edit the models instead.\n"

DROPPED = frozenset({"title", "default", "$defs"})
"""Titles say nothing new. Defaults would be written into stored objects; the descriptions tell them."""

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


def render_maskinportenclient_crd() -> str:
    """Render the CRD of MaskinportenClient as YAML."""
    document = build_maskinportenclient_crd()
    return HEADER + yaml.dump(document, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, width=120)


def build_maskinportenclient_crd() -> Schema:
    """Build the CRD of MaskinportenClient."""
    ready = ".status.conditions[?(@.type=='Ready')]"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": [KIND.lower()],
                "categories": ["nais"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        {"name": "Secret", "type": "string", "jsonPath": ".spec.secretName"},
                        {"name": "Client ID", "type": "string", "jsonPath": ".status.clientID"},
                        {"name": "Ready", "type": "string", "jsonPath": f"{ready}.status"},
                        {"name": "Reason", "type": "string", "jsonPath": f"{ready}.reason"},
                        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                    ],
                    "schema": {
                        "openAPIV3Schema": {
                            "description": "A client at Maskinporten, registered through DigDir's self-service API.",
                            "type": "object",
                            "required": ["spec"],
                            "x-kubernetes-validations": [{"rule": NAME_RULE[0], "message": NAME_RULE[1]}],
                            "properties": {
                                "apiVersion": {"type": "string"},
                                "kind": {"type": "string"},
                                "metadata": {"type": "object"},
                                "spec": build_structural_schema(MaskinportenClientSpec),
                                "status": build_structural_schema(MaskinportenClientStatus),
                            },
                        }
                    },
                }
            ],
        },
    }


def build_structural_schema(model: type[BaseModel]) -> Schema:
    """Turn a model into a structural OpenAPI schema: every node inline, with one type and no defaults.

    Raises:
        UnsupportedSchemaError: The model uses something beyond what a resource needs.
    """
    document = model.model_json_schema(by_alias=True, mode="validation")
    return _convert(document, document.get("$defs", {}), model.__name__)


def _convert(node: Mapping[str, Any], definitions: Mapping[str, Any], path: str) -> Schema:
    merged = _resolve(node, definitions, path)
    result: Schema = {}
    for keyword, value in merged.items():
        match keyword:
            case "properties":
                result[keyword] = {
                    name: _convert(child, definitions, f"{path}.{name}") for name, child in value.items()
                }
            case "items":
                result[keyword] = _convert(value, definitions, f"{path}[]")
            case "const":
                result["enum"] = [value]
            case _ if keyword in COPIED:
                result[keyword] = value
            case _ if keyword not in DROPPED:
                raise UnsupportedSchemaError(f"{path}: {keyword} has no place in a structural schema")
    if "type" not in result:
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
