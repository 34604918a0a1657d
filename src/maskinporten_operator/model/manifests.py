"""Manifests as people write them, before an API server has seen them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, StringConstraints

from maskinporten_operator.model.resources import DNS_SUBDOMAIN_PATTERN, UNREADABLE, SpecModel

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_DOMAIN = DNS_SUBDOMAIN_PATTERN.removeprefix("^").removesuffix("$")

# Of labels and annotations, as the Kubernetes API's documentation of both says.
MetadataName = Annotated[str, StringConstraints(pattern=rf"^({_DOMAIN}/)?{_NAME}$", max_length=317)]
LabelValue = Annotated[str, StringConstraints(pattern=rf"^({_NAME})?$")]


class ManifestMeta(SpecModel):
    """The metadata of a manifest, by the rules that the API server has for every kind."""

    name: Annotated[str, Field(pattern=DNS_SUBDOMAIN_PATTERN, max_length=253)]
    namespace: Annotated[str | None, Field(default=None, pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
    labels: Annotated[dict[MetadataName, LabelValue], Field(default={})]
    annotations: Annotated[dict[MetadataName, str], Field(default={})]

    # What somebody may have written along, or the API server sent with an object that was read.
    finalizers: Annotated[Any, Field(default=None)]
    owner_references: Annotated[Any, Field(default=None)]
    generate_name: Annotated[Any, Field(default=None)]
    uid: Annotated[Any, Field(default=None)]
    resource_version: Annotated[Any, Field(default=None)]
    generation: Annotated[Any, Field(default=None)]
    self_link: Annotated[Any, Field(default=None)]
    creation_timestamp: Annotated[Any, Field(default=None)]
    deletion_timestamp: Annotated[Any, Field(default=None)]
    deletion_grace_period_seconds: Annotated[Any, Field(default=None)]
    managed_fields: Annotated[Any, Field(default=None)]


def build_stored_body(manifest: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    """Build the object that the API server makes of a manifest whose metadata it takes; `namespace` if it has none."""
    kept = {name: manifest[name] for name in ("apiVersion", "kind", "spec", UNREADABLE) if name in manifest}
    given = {"uid": "", "resourceVersion": "0", "creationTimestamp": "", "deletionTimestamp": None}
    return {**kept, "metadata": {"namespace": namespace, **drop_nulls(manifest["metadata"]), **given, "generation": 1}}


def drop_nulls(value: Any) -> Any:
    """Leave out members that are null, as the API server does with fields that can't be."""
    if isinstance(value, dict):
        return {name: drop_nulls(inner) for name, inner in value.items() if inner is not None}
    return [drop_nulls(inner) for inner in value] if isinstance(value, list) else value
