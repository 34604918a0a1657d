"""As whom an Application's container runs, and what it may do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.user_metadata import (
    READ_ONLY_ANNOTATION,
    RUN_AS_GROUP_ANNOTATION,
    RUN_AS_USER_ANNOTATION,
)
from maskinporten_operator.plan.application_metadata import find_id

if TYPE_CHECKING:
    from maskinporten_operator.model.resources import ObjectMeta
    from maskinporten_operator.plan.platform import Platform


def build_pod_security_context(meta: ObjectMeta, platform: Platform) -> dict[str, Any]:
    """Build what fits the restricted Pod Security standard.

    The credentials can be read by `fsGroup`, which a container has besides whatever group it runs as.
    """
    user = find_id(meta, RUN_AS_USER_ANNOTATION) or platform.run_as_user
    group = find_id(meta, RUN_AS_GROUP_ANNOTATION) or user
    ids = {"runAsUser": user, "runAsGroup": group, "fsGroup": platform.run_as_user}
    return {
        "runAsNonRoot": True,
        **{name: one for name, one in ids.items() if one},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def build_container_security_context(meta: ObjectMeta, platform: Platform) -> dict[str, Any]:
    """Build what is the container's own."""
    read_only = {"readOnlyRootFilesystem": True} if has_read_only_root(meta, platform) else {}
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, **read_only}


def has_read_only_root(meta: ObjectMeta, platform: Platform) -> bool:
    """Whether the container can write to what is mounted only."""
    value = meta.annotations.get(READ_ONLY_ANNOTATION)
    return platform.has_nais_defaults if value is None else value.lower() != "false"
