"""What NAIS's deployment tool waits for: an Event that names its deployment and says how that ended.

It is told once for each deployment and each end: the status says of which deployment it is (`correlationID`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from maskinporten_operator.model.conditions import READY
from maskinporten_operator.model.user_metadata import DEPLOYMENT_ANNOTATION

if TYPE_CHECKING:
    from maskinporten_operator.model.conditions import Verdict
    from maskinporten_operator.model.resources import ObjectMeta
    from maskinporten_operator.model.status_hint import StatusHint

COMPLETE, FAILED = "RolloutComplete", "FailedSynchronization"
"""The reasons that the tool knows. It listens to Events whose reporter is `DEPLOYMENT_REPORTER`."""
DEPLOYMENT_REPORTER = "naiserator"


def find_deployment(meta: ObjectMeta) -> str | None:
    """Give the id of the deployment that applied a resource, if a tool of NAIS's did."""
    return meta.annotations.get(DEPLOYMENT_ANNOTATION) or None


def find_deployment_news(
    meta: ObjectMeta, ready: Verdict, status: StatusHint
) -> tuple[Literal["Normal", "Warning"], str, str] | None:
    """Find what is to be told of a deployment that has ended, unless the status says that it was told before."""
    deployment, before = find_deployment(meta), status.find_condition(READY)
    if deployment is None or ready.status == "Unknown":
        return None
    is_same = before is not None and before.status == ready.status and before.is_of(meta.generation)
    if is_same and status.fields.get("correlationID") == deployment:
        return None
    if ready.status == "True":
        return "Normal", COMPLETE, "All pods of this version are up"
    return "Warning", FAILED, ready.message
