"""`maskinporten-operator status`: what it tells of a resource, from what the API server has."""

import json
from dataclasses import replace
from datetime import timedelta

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from maskinporten_operator.cli import main
from maskinporten_operator.cli.output import render_age
from maskinporten_operator.cli.status import _render, render_overview
from maskinporten_operator.model.resources import APPLICATION, MASKINPORTEN_CLIENT
from maskinporten_operator.plan.overview import Surroundings, build_overview
from maskinporten_operator.plan.secret_uses import SecretUse
from tests.children import application_body
from tests.unit.fakes import NOW, OTHER_SCOPE, SCOPE, SECRET, iso, resource_body

DAY = timedelta(days=1)
CURRENT, OLD, OLDEST = "mpo-b", "mpo-a", "mpo-c"
EVENT = {"reason": "RegisteredClient", "message": "registered client 1", "count": 1, "lastTimestamp": iso(NOW - DAY)}


def condition(kind="Ready", status="True", reason="Synchronized", message="All is well", **more):
    since = iso(NOW - 3 * DAY)
    fields = {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since}
    return fields | {"observedGeneration": 1} | more


def client(*conditions, annotations=None, **status):
    """A MaskinportenClient that the operator has looked at."""
    fields = {
        "conditions": list(conditions or [condition()]),
        "observedGeneration": 1,
        "clientID": "some-client",
        "synchronizationSecretName": SECRET,
        "registeredScopes": [SCOPE],
        "keyIDs": [OLDEST, CURRENT, OLD],
        "key": {"id": CURRENT, "created": iso(NOW - 2 * DAY), "nextRotation": iso(NOW + 30 * DAY)},
    }
    spec = {"secretName": SECRET, "scopes": {"consumes": [{"name": SCOPE}, {"name": OTHER_SCOPE}]}}
    body = resource_body(status=fields | status, spec=spec, metadata={"annotations": annotations or {}})
    return body | {"kind": MASKINPORTEN_CLIENT.name}


def around(**changes):
    deliveries = {OLDEST: NOW - 90 * DAY, OLD: NOW - 40 * DAY, CURRENT: NOW - 2 * DAY}
    uses = (SecretUse("old-pod", NOW - 20 * DAY), SecretUse("new-pod", NOW - DAY))
    return replace(Surroundings(deliveries, uses, [EVENT]), **changes)


def look(body=None, surroundings=None):
    return build_overview(body or client(), surroundings or around(), NOW)


def render(overview):
    return click.unstyle(render_overview(overview, NOW))


def test_one_screen_tells_how_a_resource_is_what_it_has_and_what_comes_next():
    refused = condition(status="False", reason="ScopesNotGranted", message=f"Not granted, and left out: {OTHER_SCOPE}")
    exposed = {"name": "nav:arbeid:some.scope", "state": "Active", "consumers": 1}
    body = client(refused, condition("Verified", reason="TokenIssued", message="It works"), exposedScopes=[exposed])

    assert (
        render(look(body))
        == """\
MaskinportenClient some-team/some-app
  ✗ Ready is False for 3 d, ScopesNotGranted: Not granted, and left out: krr:global/kontaktinformasjon.read
    → The scope's owner, who must grant it to your organisation: noticed within minutes. Whoever exposes it, if it is \
your organisation's own. You, if the scope's name is wrong
  Next        The operator looks again every ten minutes, and at each edit
              The key is replaced about 2026-03-31
  Client      some-client
  Secret      some-secret
  Keys        mpo-b: in the Secret, 2 d old
              mpo-a: not in the Secret, 40 d old; pods that may have it: old-pod
              mpo-c: not in the Secret, 90 d old; no pod has it
  Consumes    ✓ skatt:some.scope
              ✗ krr:global/kontaktinformasjon.read
  Exposes     nav:arbeid:some.scope: Active, 1 consumer
  Happened    24 h ago: RegisteredClient: registered client 1
  ✓ Verified is True for 3 d, TokenIssued: It works"""
    )


def test_all_resources_are_told_in_a_row_each():
    application = application_body({"image": "x"}) | {"kind": APPLICATION.name, "status": {}}

    text = _render([look(), look(application, Surroundings())], "text", NOW, in_full=False)

    heading, first, second = text.splitlines()
    assert heading.split() == ["NAMESPACE", "KIND", "NAME", "READY", "REASON", "SINCE", "MESSAGE"]
    assert first.split() == [
        "some-team",
        "MaskinportenClient",
        "some-app",
        "True",
        "Synchronized",
        "3",
        "d",
        *["All", "is", "well"],
    ]
    assert second.split()[3:6] == ["-", "-", "-"]
    assert "The operator has yet to look at this version" in second


def test_programs_get_the_same_as_json():
    (found,) = json.loads(_render([look()], "json", NOW, in_full=True))

    assert found["ready"]["status"] == "True"
    assert [key["pods"] for key in found["keys"]] == [["new-pod"], ["old-pod"], []]
    assert found["keys"][0]["since"] == "2026-02-27T12:00:00+00:00"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (client(condition(observedGeneration=0), observedGeneration=0), "The operator has yet to look at this version"),
        (client(observedGeneration=None), "The operator has yet to look at this version"),
        (client(condition(status="Unknown", reason="AwaitingList")), "The operator goes on by itself"),
        (client(condition(status="False")), "The operator looks again every ten minutes"),
        (client(annotations={"digdir.nais.io/rotate": "2026-02-28"}), "A new key is asked for"),
        (client(), "The key is replaced about 2026-03-31"),
    ],
)
def test_what_comes_next_is_told(body, sentence):
    assert any(one.startswith(sentence) for one in look(body).next)


def test_a_request_that_was_carried_out_is_not_told_again():
    key = {"id": CURRENT, "rotationRequest": "2026-02-28"}

    assert look(client(annotations={"digdir.nais.io/rotate": "2026-02-28"}, key=key)).next == ()


def test_a_resource_that_is_being_deleted_is_told_to_be():
    body = client()
    body["metadata"]["deletionTimestamp"] = iso(NOW)

    assert look(body).next[0] == "It is being deleted"


@pytest.mark.parametrize(("status", "reason"), [("True", "Synchronized"), ("False", "SomebodyElsesReason")])
def test_nobody_is_asked_to_fix_what_is_ready_or_what_is_not_known(status, reason):
    assert look(client(condition(status=status, reason=reason))).remedy is None


def test_conditions_that_repeat_ready_are_left_out():
    body = client(condition(), condition("Reconciling"), condition("Stalled"), condition("Verified"))

    assert [one.type for one in look(body).conditions] == ["Verified"]


def test_what_could_not_be_read_is_told_instead_of_nothing():
    text = render(look(surroundings=Surroundings()))

    assert "Events can't be read with your rights" in text
    assert f"{OLD}: not in the Secret\n" in text


def test_the_latest_events_come_first_and_are_counted():
    events = [
        {**EVENT, "reason": f"R{day}", "count": day, "lastTimestamp": iso(NOW - day * DAY)} for day in range(9, 0, -1)
    ]

    found = look(surroundings=around(events=events)).events

    assert [one.reason for one in found] == ["R1", "R2", "R3", "R4", "R5"]
    assert "2 d ago: R2: registered client 1 (2 times)" in render(look(surroundings=around(events=events)))


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (timedelta(seconds=-5), "0 s"),
        (timedelta(seconds=119), "119 s"),
        (timedelta(minutes=2), "2 min"),
        (timedelta(hours=47), "47 h"),
        (timedelta(hours=48), "2 d"),
    ],
)
def test_ages_are_told_in_their_largest_unit(age, text):
    assert render_age(NOW - age, NOW) == text


def test_nothing_moves_the_cursor_of_whoever_looks():
    body = client(condition(message="\x1b[2J\nReady is True"), exposedScopes=[{"name": "\x1b[2J"}])

    text = render_overview(look(body), NOW)

    assert "\x1b[2J" not in text
    assert "\\x1b[2J\\nReady is True" in text


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
fields = ["conditions", "keyIDs", "key", "exposedScopes", "registeredScopes", "observedGeneration", "clientID"]


@given(status=json_values | st.dictionaries(st.sampled_from(fields), json_values), spec=json_values)
def test_whatever_a_status_says_it_is_shown(status, spec):
    body = resource_body(status=status, spec=spec) | {"kind": MASKINPORTEN_CLIENT.name}

    assert render(look(body))


@pytest.mark.parametrize("arguments", [("app", "-A"), ("--watch", "-o", "json"), ("a", "b"), ("-o", "xml")])
def test_wrong_usage_ends_with_2(arguments):
    assert CliRunner().invoke(main, ["status", *arguments]).exit_code == 2


def test_without_an_api_server_it_says_so_and_ends_with_2(tmp_path):
    outcome = CliRunner().invoke(main, ["status"], env={"KUBECONFIG": str(tmp_path / "none")})

    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert "no API server is configured" in outcome.stderr


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "Expected key current-context"),
        ("hello", "Error"),
        ("[]", "Error"),
        ("current-context: nowhere", "Expected"),
        ("a: [", "Error"),
    ],
)
def test_a_kubeconfig_that_cant_be_used_is_named_and_its_fault(monkeypatch, tmp_path, text, why):
    file = tmp_path / "some.kubeconfig"
    file.write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(file))
    outcome = CliRunner().invoke(main, ["status"])

    assert outcome.exit_code == 2, outcome.output
    assert f"KUBECONFIG={file} can't be used" in outcome.stderr
    assert why in outcome.stderr
