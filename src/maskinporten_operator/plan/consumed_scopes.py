"""The scopes that a client consumes: which it may register, and what its user must know of the others.

DigDir's lists are hints: what they have is registered, and what they lack is tried, since they leave out private
scopes that are open to all or may be delegated. DigDir decides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.blockers import Blocker, rejected, waiting
from maskinporten_operator.model.conditions import SCOPES_GRANTED, Reason, Verdict
from maskinporten_operator.plan.exposed_scopes import show
from maskinporten_operator.plan.status import MAX_MESSAGE_LENGTH

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from maskinporten_operator.model.maskinportenclient import MaskinportenClient
    from maskinporten_operator.model.scopes import Granted
    from maskinporten_operator.plan.registration_settings import RegistrationSettings

REFUSAL_RECHECK_SECONDS = 3600.0
"""Seconds after which a scope is tried again that DigDir refused; what a list tells of is seen much sooner."""
MAX_TRIES = 10
"""Scopes that one pass tries, each by a call of its own: names that nobody knows cost nothing to write."""
TRIES_RECHECK_SECONDS = 10.0
MADE_RECHECK_SECONDS = 1.0
"""Seconds after which a resource may consume the scope that it has just made itself."""
TRIES_SPREAD = 600.0
"""Seconds over which a new process spreads the tries of what an earlier one was refused."""
MAX_REFUSAL_LENGTH = 150
IS_FORBIDDEN = "can't be consumed: the cluster's admin forbids it, or it is a right of the operator's own"
OWN_SCOPES = "own scopes"
"""How `Granted.unread` names the list of the organisation's own scopes."""


@dataclass(frozen=True, slots=True)
class Consumption:
    """The consumed scopes, each list in the order of the spec.

    Attributes:
        registrable: Those that DigDir lists as the organisation's to use, or its own.
        kept: Those that are registered, and of which no list tells: DigDir took them.
        lost: Those that are registered and were allowed once: they stay until DigDir refuses them.
        missing: Those that are left out.
        own: Those of `registrable` and `missing` that are the organisation's own, without a grant to itself.
        denied: Those of `missing` that DigDir refused although its lists allow them.
        tries: Those of `missing` that are to be tried, each by an update of its own.
        refused: Of those of `missing` that DigDir refused, what it said.
        due: Seconds until newer lists tell of those of `missing` that aren't known; 0 if the newest were asked.
        earlier_refusal: What the status tells of those that an earlier process was refused, until they are tried again.
        untried: Those of `registrable` that DigDir refused together with others, and that are still to be tried.
        made: Those of `missing` that the resource itself exposes by now.
    """

    registrable: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    tries: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    orgno: str | None = None
    due: float = 0.0
    unread: tuple[str, ...] = ()
    earlier_refusal: str | None = None
    untried: tuple[str, ...] = ()
    made: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ScopeChoice:
    """What to send as a client's scopes.

    Attributes:
        wanted: All that DigDir is expected to take.
        fallbacks: What is sent instead, one after the other, while it refuses.
        tentative: Whether no list tells that any of them is granted, or others are left to be tried: that all are
            refused is no fault then.
    """

    wanted: tuple[str, ...]
    fallbacks: tuple[tuple[str, ...], ...] = ()
    tentative: bool = False


def sort_consumed(
    written: Sequence[str],
    granted: Granted,
    registered: Sequence[str],
    *,
    refused: Mapping[str, str] | None = None,
    prefix: str = "",
    earlier_refusal: str | None = None,
    tries_exhausted: bool = False,
    exposed: Collection[str] = (),
) -> Consumption:
    """Tell apart what may be registered, what is registered without a list that tells of it, and what is neither.

    Args:
        written: The consumed scopes of the spec.
        granted: What DigDir's lists tell of them.
        registered: The client's scopes.
        refused: What DigDir said of those that it refused lately.
        prefix: That of the organisation's own scopes, which are all listed: others of it don't exist.
        earlier_refusal: The status' message on those that an earlier process was refused, while they aren't tried yet.
        tries_exhausted: Whether a pass has made as many tries as it may, so that not all may have been made.
        exposed: The resource's own scopes that are active.
    """
    refused = refused or {}
    listed = {name for name in written if name in granted.names and (name in registered or name not in refused)}
    lost = {name for name in written if name in registered and name in granted.withdrawn} - listed
    kept = {name for name in written if name in registered} - listed - lost
    missing = set(written) - listed - lost - kept
    absent = {name for name in missing if name.startswith(f"{prefix}:") and OWN_SCOPES not in granted.unread}
    deferred = {name for name in missing - refused.keys() if earlier_refusal and _is_named_in(name, earlier_refusal)}
    tries = set() if granted.due else missing - granted.names - refused.keys() - absent - deferred
    return Consumption(
        registrable=_choose(written, listed),
        kept=_choose(written, kept),
        lost=_choose(written, lost),
        missing=_choose(written, missing),
        own=_choose(written, granted.own - lost - kept),
        denied=_choose(written, missing & granted.certain & refused.keys()),
        tries=_choose(written, tries),
        refused={name: refused[name] for name in written if name in missing and name in refused},
        orgno=granted.orgno,
        due=granted.due if missing else 0.0,
        unread=granted.unread,
        earlier_refusal=earlier_refusal if deferred and lost | missing == deferred else None,
        untried=_choose(written, listed.difference(registered)) if tries_exhausted else (),
        made=_choose(written, missing.intersection(exposed) - refused.keys()),
    )


def _is_named_in(name: str, message: str) -> bool:
    """Whether a message names a scope, or is one that names the first of many alone."""
    names_some = len(message) >= MAX_MESSAGE_LENGTH or re.search(r" and \d+ more\b", message)
    return bool(names_some or re.search(rf"(?<!\S){re.escape(name)}(?=[,.]?(?:\s|$))", message))


def spread_tries(uid: str) -> float:
    """Give the seconds after a resource was first seen within which nothing is tried again that was refused before."""
    return TRIES_SPREAD * int.from_bytes(sha256(uid.encode()).digest()[:4]) / 2**32


def find_earlier_refusal(resource: MaskinportenClient) -> str | None:
    """Find what the status tells of consumed scopes that aren't granted, by this very spec; a hint, as all of it."""
    condition = resource.status.find_condition(SCOPES_GRANTED)
    if condition is None or not condition.is_of(resource.meta.generation):
        return None
    is_refusal = (condition.status, condition.reason) == ("False", Reason.SCOPES_NOT_GRANTED)
    return condition.message if is_refusal else None


def check_forbidden(names: Iterable[str], settings: RegistrationSettings) -> str | None:
    """Say which scopes no resource may consume: DigDir, which might grant them, isn't asked."""
    forbidden = [name for name in names if settings.forbids(name)]
    return f"spec.scopes.consumes: {show(forbidden)} {IS_FORBIDDEN}" if forbidden else None


def judge_consumption(consumption: Consumption) -> Verdict | None:
    """Say whether every consumed scope is granted; None if there are none."""
    if not (consumption.registrable or consumption.kept or consumption.lost or consumption.missing):
        return None
    if wait := check_lists(consumption) or check_untried(consumption) or check_made(consumption):
        return Verdict(SCOPES_GRANTED, "Unknown", wait.reason, wait.message)
    message = _explain(consumption)
    if message is None:
        return Verdict(SCOPES_GRANTED, "True", Reason.SYNCHRONIZED, "Every consumed scope is granted")
    return Verdict(SCOPES_GRANTED, "False", Reason.SCOPES_NOT_GRANTED, message)


def check_lists(consumption: Consumption) -> Blocker | None:
    """What is said of a scope that isn't known must come from lists that are newer than the question."""
    if not consumption.due:
        return None
    return waiting(
        Reason.AWAITING_LIST,
        f"Not known to be granted so far: {show(consumption.missing)}. DigDir's lists are about to be read again",
        consumption.due,
    )


def check_untried(consumption: Consumption) -> Blocker | None:
    """What DigDir refused together isn't all refused: what of it remains is tried by later passes."""
    if not consumption.untried:
        return None
    return waiting(
        Reason.SCOPES_NOT_GRANTED,
        f"Granted, and refused together with others: {show(consumption.untried)}. Each is about to be tried by itself",
        TRIES_RECHECK_SECONDS,
    )


def check_made(consumption: Consumption) -> Blocker | None:
    """A scope that the resource has just made itself is registered by its next pass."""
    if not consumption.made:
        return None
    return waiting(
        Reason.SCOPES_PENDING,
        f"Exposed by this resource itself, and registered in a moment: {show(consumption.made)}",
        MADE_RECHECK_SECONDS,
    )


def check_consumption(consumption: Consumption) -> Blocker | None:
    """Say why a resource isn't ready whose scopes aren't all granted."""
    message = _explain(consumption)
    return rejected(Reason.SCOPES_NOT_GRANTED, message) if message else None


def choose_scopes(
    consumption: Consumption, written: Sequence[str], registered: Sequence[str] | None, default: str | None
) -> ScopeChoice | None:
    """Choose what the client registers; None if it had better not be registered yet.

    DigDir may refuse a client without scopes, so one whose scopes aren't granted yet takes the default one, keeps
    what it has, is tried with each of those that no list tells of, or waits. `registered` is None for a client that
    doesn't exist.
    """
    defaults = ((default,),) if default else ()
    if not written:
        return ScopeChoice(defaults[0] if defaults else ())
    steps = [step for step in _list_less_and_less(consumption, written, registered or ()) if step]
    certain = set(consumption.registrable) - set(consumption.own)
    if registered is not None:
        is_left_with_none = set(registered).isdisjoint(consumption.registrable)
        steps = [*steps, *(defaults if is_left_with_none else ())] or [tuple(registered)]
        return ScopeChoice(steps[0], tuple(steps[1:]))
    alone = [(name,) for name in (*consumption.registrable, *(() if certain or defaults else consumption.tries))]
    steps = list(dict.fromkeys([*steps, *alone[:MAX_TRIES], *defaults]))
    is_tentative = not (certain or defaults) or len(alone) > MAX_TRIES
    return ScopeChoice(steps[0], tuple(steps[1:]), is_tentative) if steps else None


def _list_less_and_less(
    consumption: Consumption, written: Sequence[str], registered: Sequence[str]
) -> list[tuple[str, ...]]:
    """List the sets to send, each without those of the one before that DigDir is likeliest to refuse."""
    listed, own = set(consumption.registrable), set(consumption.own)
    here, unlisted = listed & set(registered), {*consumption.kept, *consumption.lost}
    sets = (listed | unlisted, (listed - own) | here | unlisted, here | unlisted, here)
    return list(dict.fromkeys(_choose(written, one) for one in sets))


def _choose(written: Sequence[str], names: Iterable[str]) -> tuple[str, ...]:
    chosen = set(names)
    return tuple(name for name in written if name in chosen)


def _explain(consumption: Consumption) -> str | None:
    if consumption.earlier_refusal:
        return consumption.earlier_refusal
    whom = f"organisation {consumption.orgno}" if consumption.orgno else "the operator's organisation"
    others = [name for name in consumption.missing if name not in {*consumption.own, *consumption.denied}]
    own = [name for name in consumption.missing if name in consumption.own]
    sentences = []
    if consumption.denied:
        denied = show(_describe(consumption.denied, consumption))
        sentences.append(f"Granted, and left out since DigDir refuses it all the same: {denied}")
    if others:
        sentences.append(
            f"Not granted, and left out: {show(_describe(others, consumption))}. The owner must grant access to "
            f"{whom}, and the name must be right"
        )
    if own:
        sentences.append(
            f"The organisation's own, and left out: {show(_describe(own, consumption))}. The resource that exposes it "
            f"must list {consumption.orgno or 'the own organisation number'} among its consumers"
        )
    if consumption.lost:
        sentences.append(
            f"No longer granted: {show(consumption.lost)}. Tokens with it are refused until its owner grants access to "
            f"{whom} again; it stays registered until DigDir refuses it"
        )
    if consumption.missing and consumption.unread:
        sentences.append(f"What DigDir lists as {', '.join(consumption.unread)} couldn't be read")
    return ". ".join(sentences) or None


def _describe(names: Iterable[str], consumption: Consumption) -> list[str]:
    """Name scopes, each with what DigDir said of it."""
    refused: Mapping[str, Any] = consumption.refused
    return [f"{one} (DigDir: {refused[one][:MAX_REFUSAL_LENGTH]})" if one in refused else one for one in names]
