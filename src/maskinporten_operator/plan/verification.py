"""Whether a client's credentials are known to work, and how long a new key waits for that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from maskinporten_operator.model.conditions import VERIFIED, Reason, Verdict
from maskinporten_operator.plan.exposed_scopes import show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maskinporten_operator.model.tokens import Trial

NO_SCOPES_WAIT = 120.0
"""Seconds after which Maskinporten knows a key, by DigDir's documentation: for keys by which no token can be had."""
MAX_WAIT = 900.0
"""Seconds after which a key is delivered, whatever Maskinporten said of it: the old one expires."""

FIRST_PAUSE, MAX_PAUSE = 2.0, 30.0
"""Seconds between two requests for a token by the same credentials."""
MAX_SECONDS = 900.0
"""How long a token is asked for: teams have seen a key take a quarter of an hour to be known everywhere."""


@dataclass(frozen=True, slots=True)
class PendingKey:
    """A key that was minted and hasn't reached the Secret.

    Attributes:
        kid: Its id.
        wait: Seconds until it may take the place of a key that works; 0 if it may now.
    """

    kid: str
    wait: float = 0.0


def find_wait(seconds: float, trial: Trial | None) -> float:
    """Give how long a key waits that was published `seconds` ago; `trial` is None where no token can be asked for."""
    if trial is None:
        return max(NO_SCOPES_WAIT - seconds, 0.0)
    if trial.answer and trial.answer.proves_key:
        return 0.0
    return max(MAX_WAIT - seconds, 0.0)


def judge_pending() -> Verdict:
    """Say that a new key isn't delivered yet."""
    return Verdict(
        VERIFIED,
        "Unknown",
        Reason.WAITING_FOR_PROPAGATION,
        "A new key is registered, and will be in the Secret as soon as Maskinporten accepts it; the present one works "
        "until then",
    )


def judge_verified(trial: Trial | None, scopes: Sequence[str]) -> Verdict:
    """Say whether a token was issued with exactly what the Secret holds; `trial` is None if none can be asked for."""
    if trial is None:
        message = "The client has no scope that a token could be asked for"
        return Verdict(VERIFIED, "Unknown", Reason.NO_SCOPES, message)
    answer = trial.answer
    if answer and answer.outcome == "Issued":
        return Verdict(VERIFIED, "True", Reason.TOKEN_ISSUED, "Maskinporten issued a token with these credentials")
    if answer and answer.outcome == "ScopeRefused":
        named = find_named(answer.words, scopes)
        return Verdict(
            VERIFIED,
            "False",
            Reason.SCOPE_REFUSED,
            f"Maskinporten gives no token for {show(named)} ({answer.words}): whoever owns {show_owners(named)} must "
            "grant access, which may take minutes to arrive",
        )
    if answer is None or (answer.outcome == "KeyRefused" and not trial.is_over):
        return Verdict(
            VERIFIED,
            "Unknown",
            Reason.WAITING_FOR_PROPAGATION,
            "Maskinporten hasn't accepted the credentials yet; usually it knows a new key within two minutes",
        )
    return Verdict(
        VERIFIED,
        "False",
        Reason.TOKEN_REFUSED,
        f"Maskinporten gives no token with these credentials ({answer.words}): if it stays so, ask the cluster admin",
    )


def find_named(words: str, scopes: Sequence[str]) -> list[str]:
    """Find the scopes that a refusal names; all of them if it names none."""
    return [scope for scope in scopes if scope in words] or list(scopes)


def show_owners(scopes: Sequence[str]) -> str:
    """List the prefixes of scopes, each of which is an organisation's."""
    return show(sorted({f"{scope.partition(':')[0]}:" for scope in scopes}))
