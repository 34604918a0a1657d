"""Condition types and the one enum of reasons.

A reason is the same word in logs, Events, conditions and metrics.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

READY = "Ready"
SYNCHRONIZED = "Synchronized"
"""Of an Application: all that it owns is as its spec says, whether or not its pods are up."""
RECONCILING = "Reconciling"
STALLED = "Stalled"
"""These two, and no condition at all where neither holds, are what kstatus looks at: `plan/status.py`."""
REGISTRATION_UNIQUE = "RegistrationUnique"
SECRET_UNIQUE = "SecretUnique"
ALL_FIELDS_SUPPORTED = "AllFieldsSupported"
MASKINPORTEN_READY = "MaskinportenReady"
AVAILABLE = "Available"
SCOPES_GRANTED = "ScopesGranted"
CONSUMERS_VALID = "ConsumersValid"
SCOPES_DECLARED = "ScopesDeclared"
SCOPES_UNIQUE = "ScopesUnique"
VERIFIED = "Verified"
ROTATED = "Rotated"

Status = Literal["True", "False", "Unknown"]


class Reason(StrEnum):
    """Why a condition has its status."""

    SYNCHRONIZED = "Synchronized"
    AVAILABLE = "MinimumReplicasAvailable"
    NO_IMAGE = "NoImage"
    TOKEN_ISSUED = "TokenIssued"
    NO_SCOPES = "NoScopes"
    WORKLOAD_ELSEWHERE = "WorkloadElsewhere"
    ROLLOUT_FAILED = "RolloutFailed"

    # Only an edit of the spec or of somebody's rights helps.
    INVALID_SPEC = "InvalidSpec"
    NAMESPACE_NOT_SELECTED = "NamespaceNotSelected"
    SECRET_CONFLICT = "SecretConflict"
    SUPERSEDED_SECRETS = "SupersededSecrets"
    REGISTRATION_RELEASED = "RegistrationReleased"
    DUPLICATE_REGISTRATIONS = "DuplicateRegistrations"
    FIELDS_NOT_SUPPORTED = "FieldsNotSupported"
    SCOPES_NOT_GRANTED = "ScopesNotGranted"
    SCOPE_CONFLICT = "ScopeConflict"
    SCOPES_WITHDRAWN = "ScopesWithdrawn"
    DUPLICATE_SCOPES = "DuplicateScopes"
    CONSUMERS_REFUSED = "ConsumersRefused"
    DELEGATION_SOURCE_UNKNOWN = "DelegationSourceUnknown"
    SCOPE_REFUSED = "ScopeRefused"
    TOKEN_REFUSED = "TokenRefused"
    KEY_LIMIT_REACHED = "KeyLimitReached"
    KEY_CHURN = "KeyChurn"
    REQUEST_REPEATED = "RequestRepeated"
    KEYS_IN_USE = "KeysInUse"
    REFUSED_BY_DIGDIR = "RefusedByDigDir"
    FORBIDDEN_BY_DIGDIR = "ForbiddenByDigDir"
    REFUSED_BY_CLUSTER = "RefusedByCluster"
    CHILD_CONFLICT = "ChildConflict"
    WEBPROXY_REQUIRED = "WebproxyRequired"

    # Time or another's action helps.
    WAITING_FOR_PROPAGATION = "WaitingForPropagation"
    AWAITING_LIST = "AwaitingList"
    SCOPES_PENDING = "ScopesPending"
    AWAITING_SECRET_REMOVAL = "AwaitingSecretRemoval"
    AWAITING_CHILD_REMOVAL = "AwaitingChildRemoval"
    AWAITING_CLIENT = "AwaitingClient"
    WAITING_FOR_CREDENTIALS = "WaitingForCredentials"
    ROLLING_OUT = "RollingOut"
    ROLLOUT_BLOCKED = "RolloutBlocked"
    REGISTRATION_ABSENT = "RegistrationAbsent"
    MASS_ABSENCE = "MassAbsence"
    RATE_LIMITED = "RateLimited"
    TERMINATING = "Terminating"

    # A fault somewhere; tried again by itself.
    SIGNER_UNAVAILABLE = "SignerUnavailable"
    DIGDIR_UNAVAILABLE = "DigDirUnavailable"
    CLUSTER_UNAVAILABLE = "ClusterUnavailable"
    INTERNAL_ERROR = "InternalError"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One condition as decided, before time and generation are added to it.

    Its message may quote what users and remote systems wrote, and is shown in terminals, Events and logs: what isn't
    printable in it stands as its escape.
    """

    type: str
    status: Status
    reason: str
    message: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", escape(self.message))


def escape(text: str) -> str:
    """Give a text on one line, without what moves a terminal's cursor or turns the text around."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
