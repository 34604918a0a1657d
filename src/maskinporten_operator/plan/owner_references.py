"""Labels and owner references of what is made for a resource, and whose a child is by these references."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maskinporten_operator.model.resources import Kind, ObjectMeta

APP_LABEL = "app"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "maskinporten-operator"


def build_labels(owner: ObjectMeta) -> dict[str, str]:
    """Build the labels of everything that is made for a resource; the first selects, the second is watched."""
    return {APP_LABEL: owner.name, MANAGED_BY_LABEL: MANAGED_BY}


def build_owner_reference(owner: ObjectMeta) -> dict[str, Any]:
    """Build the reference that makes a resource the controlling owner."""
    return {
        "apiVersion": owner.kind.api_version,
        "kind": owner.kind.name,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def build_metadata(owner: ObjectMeta, name: str | None = None) -> dict[str, Any]:
    """Build the metadata of a child, which has its owner's name if it has none of its own."""
    return {
        "name": name or owner.name,
        "namespace": owner.namespace,
        "labels": build_labels(owner),
        "ownerReferences": [build_owner_reference(owner)],
    }


def find_owners(manifest: Mapping[str, Any], kind: Kind) -> tuple[Mapping[str, Any], ...]:
    """Find the references to owners of a kind, whatever the version."""
    references = manifest["metadata"].get("ownerReferences") or ()
    return tuple(
        one for one in references if one.get("kind") == kind.name and one["apiVersion"].startswith(f"{kind.group}/")
    )


def is_owned_by(manifest: Mapping[str, Any], owner: ObjectMeta) -> bool:
    """Whether this very resource owns it; one of the same name with another uid doesn't.

    Of several resources of one kind only the controlling one does, as the API server lets no more than one control.
    """
    owners = find_owners(manifest, owner.kind)
    if len(owners) > 1:
        owners = tuple(one for one in owners if one.get("controller"))
    return any(one["uid"] == owner.uid for one in owners)


def was_owned_by_namesake(manifest: Mapping[str, Any], owner: ObjectMeta) -> bool:
    """Whether an earlier resource of the same name owns it: the garbage collector will remove it."""
    return bool(_find_earlier_owners(manifest, owner))


def is_ownerless(manifest: Mapping[str, Any], owner: ObjectMeta) -> bool:
    """Whether nothing that exists owns it: it was orphaned, or comes from a backup.

    References to earlier resources of the owner's name don't count, since two of one name never exist at once.
    """
    references = manifest["metadata"].get("ownerReferences") or ()
    return len(references) == len(_find_earlier_owners(manifest, owner))


def is_adoptable(manifest: Mapping[str, Any], owner: ObjectMeta) -> bool:
    """Whether nothing owns it, it isn't being deleted, and its labels say that it was made for a resource."""
    metadata = manifest["metadata"]
    return (
        is_ownerless(manifest, owner)
        and not metadata.get("deletionTimestamp")
        and build_labels(owner).items() <= (metadata.get("labels") or {}).items()
    )


def _find_earlier_owners(manifest: Mapping[str, Any], owner: ObjectMeta) -> list[Mapping[str, Any]]:
    owners = find_owners(manifest, owner.kind)
    return [one for one in owners if one["name"] == owner.name and one["uid"] != owner.uid]
