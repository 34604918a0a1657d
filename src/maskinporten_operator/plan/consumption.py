"""The scopes that a client consumes: which it may register, and what its user must be told of the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from maskinporten_operator.model.conditions import SCOPES_GRANTED, Reason, Verdict
from maskinporten_operator.model.errors import RejectedError
from maskinporten_operator.plan.scopes import show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maskinporten_operator.model.scopes import Granted


@dataclass(frozen=True, slots=True)
class Consumption:
    """The consumed scopes, each list in the order of the spec.

    Attributes:
        registrable: Those that are granted.
        lost: Those that are registered and not granted any more: they stay until DigDir refuses them.
        missing: Those that aren't granted, and are left out.
        orgno: The organisation to which they must be granted, if its number is known.
    """

    registrable: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    orgno: str | None = None


def sort_consumed(written: Sequence[str], granted: Granted, registered: Sequence[str]) -> Consumption:
    """Tell apart what may be registered, what is registered without a grant, and what is neither."""
    others = [name for name in written if name not in granted.names]
    return Consumption(
        tuple(name for name in written if name in granted.names),
        tuple(name for name in others if name in registered),
        tuple(name for name in others if name not in registered),
        granted.orgno,
    )


def judge_consumption(consumption: Consumption) -> Verdict | None:
    """Say whether every consumed scope is granted; None if there are none."""
    if not (consumption.registrable or consumption.lost or consumption.missing):
        return None
    message = _explain(consumption)
    if message is None:
        return Verdict(SCOPES_GRANTED, "True", Reason.SYNCHRONIZED, "Every consumed scope is granted")
    return Verdict(SCOPES_GRANTED, "False", Reason.SCOPES_NOT_GRANTED, message)


def check_consumption(consumption: Consumption) -> RejectedError | None:
    """Say why a resource isn't ready whose scopes aren't all granted."""
    message = _explain(consumption)
    return RejectedError(Reason.SCOPES_NOT_GRANTED, message) if message else None


def choose_scopes(
    consumption: Consumption, written: Sequence[str], registered: Sequence[str] | None, default: str | None
) -> tuple[str, ...] | None:
    """Choose what the client registers; None if it had better not be registered yet.

    DigDir may refuse a client without scopes, so one whose scopes aren't granted yet takes the default one, keeps
    what it has, or waits. `registered` is None for a client that doesn't exist.
    """
    chosen = tuple(name for name in written if name in consumption.registrable or name in consumption.lost)
    if chosen or not written:
        return chosen or ((default,) if default else ())
    if default:
        return (default,)
    return tuple(registered) if registered is not None else None


def _explain(consumption: Consumption) -> str | None:
    whom = f"organisation {consumption.orgno}" if consumption.orgno else "the operator's organisation"
    sentences = []
    if consumption.missing:
        sentences.append(
            f"Not granted, and left out: {show(consumption.missing)}. The owner must grant access to {whom}, "
            "and the name must be right"
        )
    if consumption.lost:
        sentences.append(
            f"No longer granted: {show(consumption.lost)}. Tokens with it are refused until its owner grants access to "
            f"{whom} again; it stays registered until DigDir refuses it"
        )
    return ". ".join(sentences) or None
