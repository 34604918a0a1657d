"""How long a new key waits for its proof, and what is said of credentials."""

import pytest

from maskinporten_operator.model.tokens import TokenAnswer, Trial
from maskinporten_operator.plan.verification import MAX_WAIT, NO_SCOPES_WAIT, find_wait, judge_pending, judge_verified

SCOPES = ("skatt:some.scope", "ks:fiks")
UNKNOWN_KEY = TokenAnswer("KeyRefused", "Unknown key identifier (kid) for client.")
DENIED = TokenAnswer("ScopeRefused", "Consumer has not been granted access to the scope ks:fiks")
CLOCK = TokenAnswer("Refused", "Malformed")


@pytest.mark.parametrize(
    ("seconds", "trial", "wait"),
    [
        (0, Trial(), MAX_WAIT),
        (60, Trial(UNKNOWN_KEY), MAX_WAIT - 60),
        (60, Trial(CLOCK), MAX_WAIT - 60),
        (0, Trial(DENIED), 0),
        (0, Trial(TokenAnswer("Issued"), is_over=True), 0),
        (MAX_WAIT, Trial(UNKNOWN_KEY, is_over=True), 0),
        (0, None, NO_SCOPES_WAIT),
        (NO_SCOPES_WAIT + 1, None, 0),
    ],
    ids=["nothing known", "unknown key", "other refusal", "scope refused", "issued", "too long", "no scopes", "known"],
)
def test_a_key_waits_until_it_was_accepted_or_long_enough(seconds, trial, wait):
    assert find_wait(seconds, trial) == wait


@pytest.mark.parametrize(
    ("trial", "verdict"),
    [
        (None, ("Unknown", "NoScopes")),
        (Trial(), ("Unknown", "WaitingForPropagation")),
        (Trial(is_over=True), ("Unknown", "WaitingForPropagation")),
        (Trial(UNKNOWN_KEY), ("Unknown", "WaitingForPropagation")),
        (Trial(UNKNOWN_KEY, is_over=True), ("False", "TokenRefused")),
        (Trial(CLOCK), ("False", "TokenRefused")),
        (Trial(DENIED), ("False", "ScopeRefused")),
        (Trial(TokenAnswer("Issued"), is_over=True), ("True", "TokenIssued")),
    ],
)
def test_what_is_known_of_credentials_is_a_condition(trial, verdict):
    judged = judge_verified(trial, SCOPES)

    assert (judged.type, judged.status, judged.reason) == ("Verified", *verdict)


def test_a_refused_scope_is_named_with_whoever_owns_it():
    message = judge_verified(Trial(DENIED), SCOPES).message

    assert "no token for ks:fiks (Consumer has not been granted" in message
    assert "whoever owns ks: must grant access" in message
    assert "skatt" not in message


def test_a_refusal_that_names_no_scope_is_about_all_of_them():
    message = judge_verified(Trial(TokenAnswer("ScopeRefused")), SCOPES).message

    assert "skatt:some.scope, ks:fiks" in message


def test_a_refusal_that_stays_quotes_maskinporten():
    assert "Unknown key identifier" in judge_verified(Trial(UNKNOWN_KEY, is_over=True), SCOPES).message


def test_of_a_key_that_waits_it_is_said_that_the_present_one_works():
    assert "the present one works" in judge_pending().message
