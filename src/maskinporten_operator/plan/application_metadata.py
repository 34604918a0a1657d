"""What the labels and annotations of an Application make of what it owns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.user_metadata import (
    CHANGE_CAUSE_ANNOTATION,
    DEPLOYMENT_ANNOTATION,
    MAX_CONTROLLER_LENGTH,
    OWN_DOMAIN,
    READ_ONLY_ANNOTATION,
    RESTART_ANNOTATION,
    RUN_AS_GROUP_ANNOTATION,
    RUN_AS_USER_ANNOTATION,
    is_for_controllers,
    keep_annotations,
    keep_labels,
)
from maskinporten_operator.plan.owner_references import APP_LABEL, build_labels, build_metadata

if TYPE_CHECKING:
    from maskinporten_operator.model.resources import ObjectMeta

TEAM_LABEL = "team"
MAX_ID = 2_147_483_647
ID_ANNOTATIONS = (RUN_AS_USER_ANNOTATION, RUN_AS_GROUP_ANNOTATION)
ACTED_ON = frozenset(
    {RESTART_ANNOTATION, READ_ONLY_ANNOTATION, CHANGE_CAUSE_ANNOTATION, DEPLOYMENT_ANNOTATION, *ID_ANNOTATIONS}
)
SATISFIED = frozenset({"nais.io/skipDeploymentMessage"})
"""Set by deployment tools; what they ask for is so anyway."""
EXPRESSIONS = frozenset({"nginx.ingress.kubernetes.io/use-regex", "nginx.ingress.kubernetes.io/rewrite-target"})
"""Annotations by which a controller takes paths for expressions, or puts parts of them in place of `$1`."""
TRUE = frozenset({"1", "t", "true"})
"""What ingress-nginx takes for it, in small letters (Go's strconv.ParseBool)."""
EXPIRY_LABEL = "euthanaisa.nais.io/kill-after"


def build_child_labels(meta: ObjectMeta) -> dict[str, str]:
    """Build the labels of everything that an Application owns: its own, a team, and those by which it is known."""
    return {TEAM_LABEL: meta.namespace, **keep_labels(meta.labels), **build_labels(meta)}


def build_child_metadata(meta: ObjectMeta, name: str | None = None) -> dict[str, Any]:
    """Build the metadata of what an Application owns."""
    return {**build_metadata(meta, name), "labels": build_child_labels(meta)}


def build_change_cause(meta: ObjectMeta) -> dict[str, str]:
    """Build the annotation of the Deployment by which Kubernetes tells of its revisions."""
    cause = meta.annotations.get(CHANGE_CAUSE_ANNOTATION)
    return {CHANGE_CAUSE_ANNOTATION: cause} if cause else {}


def find_id(meta: ObjectMeta, annotation: str) -> int | None:
    """Read the id of a user or group that isn't root; None if the annotation names none."""
    value = meta.annotations.get(annotation, "")
    return int(value) if value.isdecimal() and value.isascii() and 0 < int(value) <= MAX_ID else None


def find_controller_annotations(meta: ObjectMeta) -> dict[str, str]:
    """Find the annotations that are passed on to ingress controllers."""
    return {
        name: value
        for name, value in meta.annotations.items()
        if is_for_controllers(name) and not _find_obstacle(name, value)
    }


def find_unused_metadata(meta: ObjectMeta, *, has_ingress: bool = False) -> list[str]:
    """Find the labels and annotations that ask for something and have no effect, each with the reason if need be."""
    labels = []
    if meta.labels.get(APP_LABEL, meta.name) != meta.name:
        labels.append(f"metadata.labels[{APP_LABEL}] (everything has the Application's name in it)")
    if EXPIRY_LABEL in meta.labels:
        labels.append(f"metadata.labels[{EXPIRY_LABEL}]")
    used = find_controller_annotations(meta) if has_ingress else {}
    unused = [_explain_annotation(meta, name) for name in keep_annotations(meta.annotations) if name not in used]
    return labels + [f"metadata.annotations[{one}" for one in sorted(filter(None, unused))]


def _explain_annotation(meta: ObjectMeta, name: str) -> str | None:
    if name in ID_ANNOTATIONS and find_id(meta, name) is None:
        return f"{name}] (no id of a user or group but root's)"
    if is_for_controllers(name) and (obstacle := _find_obstacle(name, meta.annotations[name])):
        return f"{name}] ({obstacle})"
    if name in ACTED_ON or name in SATISFIED:
        return None
    return f"{name}] (write it on the MaskinportenClient)" if name.startswith(f"{OWN_DOMAIN}/") else f"{name}]"


def _find_obstacle(name: str, value: str) -> str | None:
    """Find why an annotation can't be passed on: a part of it, or with other paths, would mean something else."""
    if len(value) > MAX_CONTROLLER_LENGTH:
        return f"more than {MAX_CONTROLLER_LENGTH} characters"
    is_expression = name in EXPRESSIONS and (value.lower() in TRUE or "$" in value)
    return "paths are no expressions here" if is_expression else None
