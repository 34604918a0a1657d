"""The table of reasons: what each means, and who can fix it as the operator's own command says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.plan.remedies import REMEDIES
from tools.generate.marked import replace_marked

if TYPE_CHECKING:
    from collections.abc import Mapping

DOCUMENT = "docs/using.md"
MEANINGS: Mapping[Reason, tuple[str, str]] = {
    Reason.SYNCHRONIZED: (
        "True",
        (
            "The client is registered and its credentials are in the Secret; of an Application, all that it owns "
            "is as its spec says besides, and the rollout of this version is complete"
        ),
    ),
    Reason.ROLLING_OUT: (
        "Unknown",
        (
            "An Application: its Deployment doesn't have all pods of this version up yet, or has some of an "
            "earlier one left"
        ),
    ),
    Reason.ROLLOUT_BLOCKED: (
        "Unknown",
        (
            "An Application: pods don't come up, and the message says why: a quota, no node that takes them, an "
            "image that can't be pulled, a container that can't be started or keeps ending"
        ),
    ),
    Reason.ROLLOUT_FAILED: (
        "False",
        (
            "An Application: Kubernetes gave the rollout up, after ten minutes without progress; the message says "
            "why, and whether pods of an earlier version are available"
        ),
    ),
    Reason.INVALID_SPEC: (
        "False",
        (
            "The spec can't be used; the message names the fields, or says that there is too much to read: 256 "
            "KiB and 32 levels of nesting at most. Nothing is done for the resource, and what it has already "
            "stays as it is"
        ),
    ),
    Reason.NAMESPACE_NOT_SELECTED: (
        "False",
        (
            "The operator doesn't manage this namespace, so nothing is done for the resource; what exists already "
            "is left as it is"
        ),
    ),
    Reason.SECRET_CONFLICT: (
        "False",
        (
            "The Secret of that name isn't this resource's, or an older resource names the same one. One that "
            "nothing owns is taken back if its key is the client's ([Back up and restore](backup.md)); else the "
            "message says what it lacks"
        ),
    ),
    Reason.SCOPES_NOT_GRANTED: (
        "False; Unknown while many scopes that DigDir refused together are still tried one by one",
        (
            "A scope that the resource consumes isn't granted to your organisation, or no longer is; the message "
            "names it, with what DigDir said when it refused it. The client works with the others"
        ),
    ),
    Reason.SCOPE_CONFLICT: (
        "False",
        (
            "A scope that the resource exposes is somebody else's at DigDir, or an older resource exposes it too; "
            "the message names whose it is. The other scopes are exposed"
        ),
    ),
    Reason.DELEGATION_SOURCE_UNKNOWN: (
        "False",
        "DigDir lists no delegation source of the name in `delegationSource`, so the scope isn't exposed",
    ),
    Reason.CONSUMERS_REFUSED: (
        "–",
        (
            "Of the condition `ConsumersValid`, and doesn't change `Ready`: DigDir refused a consumer of an "
            "exposed scope, and the message names it. The others have access"
        ),
    ),
    Reason.SCOPES_WITHDRAWN: (
        "–",
        (
            "Of the condition `ScopesDeclared`, and doesn't change `Ready`: a scope that was exposed left the "
            "spec and is still active, with its consumers"
        ),
    ),
    Reason.SUPERSEDED_SECRETS: (
        "–",
        (
            "Of the condition `SecretUnique`, and doesn't change `Ready`: Secrets are left of an earlier "
            "`secretName`, and the message names them"
        ),
    ),
    Reason.DUPLICATE_SCOPES: (
        "–",
        (
            "Of the condition `ScopesUnique`, and doesn't change `Ready`: a scope is written more than once, and "
            "the message names it. Consumed, it counts once; exposed, the last one counts"
        ),
    ),
    Reason.REFUSED_BY_DIGDIR: (
        "False",
        "DigDir said no, and the message quotes it",
    ),
    Reason.FORBIDDEN_BY_DIGDIR: (
        "False; Unknown while the operator gets no token or list at all",
        "DigDir doesn't let the operator do it",
    ),
    Reason.REFUSED_BY_CLUSTER: (
        "False; Unknown for lack of rights, or for a conflict (409) in five passes in a row",
        "The API server doesn't let the operator do it",
    ),
    Reason.REGISTRATION_RELEASED: (
        "False",
        "The client has another description at DigDir now, so it counts as somebody else's",
    ),
    Reason.KEY_LIMIT_REACHED: (
        "False; of the condition `Rotated` likewise",
        (
            "Keys that the operator didn't make leave no place for a new one: DigDir allows five in all, and the "
            "one in use isn't given up"
        ),
    ),
    Reason.KEY_CHURN: (
        "False; of the condition `Rotated`, if a rotation was asked for and the key in the Secret works",
        (
            "Five keys were made for the client within an hour. The message says how many were for rotation "
            "requests, and how many because the Secret held none that worked: it kept disappearing or changing, "
            "or the resource was deleted and created again and again"
        ),
    ),
    Reason.AWAITING_LIST: (
        "Unknown",
        "A client may have been registered already by an attempt that was cut off; waiting for DigDir's list",
    ),
    Reason.SCOPES_PENDING: (
        "Unknown; what was ready stays so",
        (
            "There are more exposed scopes and consumers to look at or to change than one pass does, so that "
            "others needn't wait for it: the credentials are in the Secret. Or a scope that the resource consumes "
            "was just made by itself"
        ),
    ),
    Reason.AWAITING_SECRET_REMOVAL: (
        "Unknown",
        (
            "The Secret is being deleted, or still belongs to an earlier resource of this name and its key isn't "
            "the client's"
        ),
    ),
    Reason.REGISTRATION_ABSENT: (
        "Unknown",
        "The client was deleted at DigDir. It is looked for once more before a new one is registered",
    ),
    Reason.MASS_ABSENCE: (
        "Unknown",
        (
            "Many clients vanished at once, so nothing is registered meanwhile, not even for new resources: "
            "rather a wrong address than so many deletions"
        ),
    ),
    Reason.RATE_LIMITED: (
        "Unknown",
        "DigDir asks for fewer calls",
    ),
    Reason.DIGDIR_UNAVAILABLE: (
        "Unknown",
        "DigDir doesn't answer, or has a fault",
    ),
    Reason.SIGNER_UNAVAILABLE: (
        "Unknown",
        (
            "Whoever holds the operator's own key (`ADMIN_SIGNER`) doesn't sign, so the operator can't ask DigDir "
            "for anything"
        ),
    ),
    Reason.CLUSTER_UNAVAILABLE: (
        "Unknown",
        "The API server doesn't answer, or has a fault",
    ),
    Reason.CHILD_CONFLICT: (
        "False",
        (
            "An Application: something of its name exists that it doesn't own, and the message names it, with "
            "what it lacks to be [taken back](backup.md)"
        ),
    ),
    Reason.WEBPROXY_REQUIRED: (
        "False",
        "An Application on premises: Maskinporten is reached through the web proxy",
    ),
    Reason.AWAITING_CHILD_REMOVAL: (
        "Unknown",
        (
            "An Application: something of its name is being deleted, or belongs to an earlier Application of this "
            "name and isn't as this one asks"
        ),
    ),
    Reason.AWAITING_CLIENT: (
        "Unknown",
        "An Application: its MaskinportenClient has no `Ready` condition of its generation yet",
    ),
    Reason.INTERNAL_ERROR: (
        "Unknown",
        "A fault in the operator",
    ),
    Reason.TERMINATING: (
        "–",
        "The resource or its namespace is being deleted, so nothing more is done. In no condition",
    ),
}
"""What `Ready` is, and what the reason means; reasons of other conditions alone are told with those."""
LINKS = {"docs/operating.md, MassAbsence": "[docs/operating.md, MassAbsence](operating.md#massabsence)"}
CODE = re.compile(r"\b(?:[A-Z]+_[A-Z_]+|secretName|orgno|delegationSource|enabled: false|spec\.webproxy|true)\b")


def render_reasons() -> str:
    """Render the page with the table of reasons."""
    head = ["| Reason | Ready | What it means | Who can fix it |", "|---|---|---|---|"]
    rows = [f"| `{reason}` | {ready} | {text} | {_link(reason)} |" for reason, (ready, text) in MEANINGS.items()]
    return replace_marked(DOCUMENT, "reasons", "\n".join([*head, *rows, ""]))


def _link(reason: Reason) -> str:
    remedy = REMEDIES.get(reason, "–")
    for text, link in LINKS.items():
        remedy = remedy.replace(text, link)
    return CODE.sub(lambda found: f"`{found[0]}`", remedy)
