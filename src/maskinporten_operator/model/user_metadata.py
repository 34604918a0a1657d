"""What is read of the labels and annotations that users and their tools write on resources."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

OWN_DOMAIN = "digdir.nais.io"
RESTART_ANNOTATION = "digdir.nais.io/restart-on-rotation"
"""On an Application: `false` leaves the pods alone when the credentials change."""
RUN_AS_USER_ANNOTATION = "nais.io/run-as-user"
RUN_AS_GROUP_ANNOTATION = "nais.io/run-as-group"
READ_ONLY_ANNOTATION = "nais.io/read-only-file-system"
DEPLOYMENT_ANNOTATION = "nais.io/deploymentCorrelationID"
"""On an Application: which deployment of NAIS's deployment tool applied it."""
CHANGE_CAUSE_ANNOTATION = "kubernetes.io/change-cause"
"""What `kubectl rollout history` shows of a change."""
READ_DOMAINS = frozenset({"nais.io", "prometheus.io"})
"""Of annotations that ask for something, on the NAIS platform at least; those below `nais.io` do too."""
CONTROLLER_DOMAIN, OTHER_CONTROLLER_DOMAIN = "ingress.kubernetes.io", "haproxy.org"
"""Of annotations for ingress controllers: each has one below the first, such as `nginx.ingress.kubernetes.io`."""
MAX_ANNOTATION_LENGTH = 64
"""Characters that count of an annotation's value."""
MAX_CHANGE_CAUSE_LENGTH = 1024
MAX_CONTROLLER_LENGTH = 4096
"""Characters of what is passed on to an ingress controller; of more one too many is kept, by which it is known."""
TRACKING_DOMAINS = ("argocd.argoproj.io", "kustomize.toolkit.fluxcd.io", "helm.toolkit.fluxcd.io", "velero.io")
TRACKING_LABELS = frozenset({"app.kubernetes.io/instance", "app.kubernetes.io/managed-by"})
"""Labels by which tools know what they applied or restored; what is made for a resource wasn't applied by them."""


def keep_annotations(annotations: Mapping[str, str] | None) -> dict[str, str]:
    """Keep the annotations that may ask for something, with as much of their values as counts."""
    return {name: one[: _find_limit(name)] for name, one in (annotations or {}).items() if _find_limit(name)}


def keep_labels(labels: Mapping[str, str] | None) -> dict[str, str]:
    """Keep the labels that say something of the application, and not by which tool it was applied."""
    return {name: value for name, value in (labels or {}).items() if not _tracks(name)}


def is_for_controllers(name: str) -> bool:
    """Whether an annotation is read by an ingress controller."""
    domain = name.partition("/")[0]
    return "/" in name and (domain == OTHER_CONTROLLER_DOMAIN or domain.endswith(f".{CONTROLLER_DOMAIN}"))


def _find_limit(name: str) -> int:
    """Find how many characters of an annotation's value are kept; 0 if it asks for nothing."""
    if name == CHANGE_CAUSE_ANNOTATION:
        return MAX_CHANGE_CAUSE_LENGTH
    if is_for_controllers(name):
        return MAX_CONTROLLER_LENGTH + 1
    domain = name.partition("/")[0]
    is_request = "/" in name and (domain in READ_DOMAINS or domain.endswith(".nais.io"))
    return MAX_ANNOTATION_LENGTH if is_request else 0


def _tracks(label: str) -> bool:
    return label in TRACKING_LABELS or label.partition("/")[0] in TRACKING_DOMAINS
