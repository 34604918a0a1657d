"""What `token` makes of Maskinporten's words, whatever they are."""

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskinporten_operator.cli.token import render, render_json
from maskinporten_operator.model.conditions import escape
from maskinporten_operator.model.status_hint import StatusHint
from maskinporten_operator.model.tokens import TokenAnswer, TokenRequest
from maskinporten_operator.plan.token_report import CODES, Holder, Topic, build_report, find_topic
from tests.unit.fakes import NAME, NAMESPACE, NOW, OTHER_SCOPE, SCOPE, SECRET, SERVER, private_jwk

HOLDER = Holder(NAMESPACE, NAME, SECRET, StatusHint({}), SERVER, (SCOPE,))
REQUEST = TokenRequest("some-client", private_jwk(), (SCOPE, OTHER_SCOPE))


def look(answer=TokenAnswer("Issued"), **claims):  # noqa: B008 - it is frozen
    return build_report(HOLDER, REQUEST, answer, claims, None)


@pytest.mark.parametrize(
    ("answer", "topic"),
    [
        (TokenAnswer("KeyRefused", "Unknown key identifier (kid) for client.", "invalid_grant"), Topic.KEY),
        (TokenAnswer("KeyRefused", "Issue time is in the future.", "invalid_grant"), Topic.CLOCK),
        (TokenAnswer("KeyRefused", "JWT has expired", "invalid_grant", "MP-130"), Topic.CLOCK),
        (TokenAnswer("KeyRefused", "Expired key", "invalid_grant", "MP-121"), Topic.KEY_ENDED),
        (TokenAnswer("KeyRefused", "Invalid signature", "invalid_grant", "MP-124"), Topic.SIGNATURE),
        (TokenAnswer("KeyRefused", "The grant has been used before", "invalid_grant", "MP-012"), Topic.REPEATED),
        (TokenAnswer("KeyRefused", "", "invalid_client"), Topic.CLIENT),
        (TokenAnswer("ScopeRefused", "", "forbidden"), Topic.NOT_GRANTED),
        (TokenAnswer("ScopeRefused", "", "invalid_scope"), Topic.NOT_REGISTERED),
        (TokenAnswer("Refused", "", "unauthorized_client"), Topic.OTHER),
        (TokenAnswer("Refused", "", "", "MP-999"), Topic.OTHER),
    ],
)
def test_a_refusal_is_known_by_its_code_else_by_its_words(answer, topic):
    assert find_topic(answer) is topic


@pytest.mark.parametrize("code", [*CODES, ""])
def test_every_refusal_says_what_it_means_and_who_can_fix_it(code):
    refusal = look(TokenAnswer("Refused", f"about {SCOPE}", "", code)).refusal

    assert refusal.meaning
    assert refusal.remedy.startswith(("You: ", "Time", "Whoever ", "That organisation: ", "A cluster admin"))


def test_a_refusal_that_names_a_scope_is_about_that_one():
    refusal = look(TokenAnswer("ScopeRefused", f"no access to {OTHER_SCOPE}", "forbidden", "MP-250")).refusal

    assert OTHER_SCOPE in refusal.meaning
    assert SCOPE not in refusal.meaning


def test_a_scope_that_was_asked_for_and_not_given_is_told_and_so_is_one_that_was_not_asked_for():
    text = click.unstyle(render(look(scope=f"{SCOPE} nav:other"), NOW))

    assert f"✓ {SCOPE}\n" in text
    assert f"✗ {OTHER_SCOPE}: asked for, and not in the token\n" in text
    assert "✓ nav:other: not asked for, and in the token\n" in text + "\n"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)
names = st.sampled_from(["scope", "consumer", "exp", "client_id", "iss", "aud"]) | st.text(max_size=5)


@given(claims=st.dictionaries(names, json_values, max_size=5))
def test_whatever_a_token_claims_it_is_shown_and_nothing_moves_the_cursor(claims):
    report = look(**claims)

    assert render_json(report)
    assert all(line == escape(line) for line in click.unstyle(render(report, NOW)).split("\n"))
