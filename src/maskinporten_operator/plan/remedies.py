"""Who can fix what a reason says, as `status` tells it; the documentation has the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maskinporten_operator.model.conditions import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maskinporten_operator.model.resources import Kind

REMEDIES: Mapping[Reason, str] = {
    Reason.ROLLOUT_FAILED: "You: edit the Application. It goes on by itself when its pods come up after all",
    Reason.INVALID_SPEC: "You: edit the resource. The cluster admin, if the message names a scope of FORBIDDEN_SCOPES",
    Reason.NAMESPACE_NOT_SELECTED: (
        "The cluster admin: give the namespace the label of NAMESPACE_SELECTOR. It is taken up at once"
    ),
    Reason.SECRET_CONFLICT: "You: choose another secretName, or remove the Secret",
    Reason.SUPERSEDED_SECRETS: "You: remove them when no workload uses them",
    Reason.REGISTRATION_RELEASED: (
        "Whoever administers clients at DigDir can set it back. Or you: delete the resource and create it "
        "again, for a new client"
    ),
    Reason.SCOPES_NOT_GRANTED: (
        "The scope's owner, who must grant it to your organisation: noticed within minutes. Whoever exposes "
        "it, if it is your organisation's own. You, if the scope's name is wrong"
    ),
    Reason.SCOPE_CONFLICT: (
        "You: take it out of one of the two. Or whoever administers scopes at DigDir: set its description to "
        "the one in the message"
    ),
    Reason.SCOPES_WITHDRAWN: "You: put it back with enabled: false to deactivate it",
    Reason.DUPLICATE_SCOPES: "You: take out all but one",
    Reason.CONSUMERS_REFUSED: "You: fix the consumer's orgno, or take the consumer out",
    Reason.DELEGATION_SOURCE_UNKNOWN: (
        "You: take delegationSource out. Else the cluster admin: the operator's DigDir address"
    ),
    Reason.KEY_LIMIT_REACHED: "Whoever administers clients at DigDir: remove one of the client's keys",
    Reason.KEY_CHURN: (
        "You: find out what asks for rotations, or removes or changes the Secret or the resource, and stop it. Time: "
        "the next key is made an hour after the first of the last five"
    ),
    Reason.REFUSED_BY_DIGDIR: "You, if the message names something of the spec; else the cluster admin",
    Reason.FORBIDDEN_BY_DIGDIR: "The cluster admin: the rights of the operator's own client",
    Reason.REFUSED_BY_CLUSTER: "The cluster admin: RBAC, quotas, the installed CRD, or an admission webhook",
    Reason.CHILD_CONFLICT: "You: remove or rename one of the two",
    Reason.WEBPROXY_REQUIRED: "You: set spec.webproxy to true",
    Reason.AWAITING_LIST: "Time: about ten seconds",
    Reason.SCOPES_PENDING: "Time: further passes go on with it at once",
    Reason.AWAITING_SECRET_REMOVAL: "Kubernetes' garbage collector: seconds",
    Reason.AWAITING_CHILD_REMOVAL: "Kubernetes' garbage collector: seconds",
    Reason.AWAITING_CLIENT: "Time: seconds",
    Reason.ROLLING_OUT: "Time: as long as the pods take",
    Reason.ROLLOUT_BLOCKED: "You, mostly: the message says what to fix. The cluster admin: quotas and nodes",
    Reason.REGISTRATION_ABSENT: "Time: half a minute",
    Reason.MASS_ABSENCE: "The cluster admin: check DigDir's address, as docs/operating.md, MassAbsence says",
    Reason.RATE_LIMITED: "Time: as long as DigDir said",
    Reason.SIGNER_UNAVAILABLE: (
        "The cluster admin: the message says what to check. Tried again after 1, 2, 4 … 20 seconds, later where "
        "hundreds fail together"
    ),
    Reason.DIGDIR_UNAVAILABLE: "Time: tried again after 1, 2, 4 … 20 seconds, later where hundreds fail together",
    Reason.CLUSTER_UNAVAILABLE: "Time: tried again after 1, 2, 4 … 20 seconds, later where hundreds fail together",
    Reason.INTERNAL_ERROR: "The cluster admin: the operator's log tells where the fault is",
}


def describe_lack(verb: str, kind: Kind, namespace: str | None) -> str:
    """Say which right of RBAC whoever runs a command lacks, and who can give it; `namespace` is None for all."""
    resource = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
    where = f"in namespace {namespace}" if namespace else "in all namespaces"
    return (
        f"you may not {verb} {resource} {where}: whoever administers rights there, else a cluster admin, must give you "
        f"the right to {verb} {resource} (RBAC)"
    )
