"""`maskinporten-operator plan`: what it tells of the writes that an operator would make.

That these are the writes which it then makes, each test of passes finds out (`planned_world.py`).
"""

import json
import re
import shlex
from dataclasses import replace

import click
import pytest
from click.testing import CliRunner

from maskinporten_operator import logs
from maskinporten_operator.assembly import planned_passes
from maskinporten_operator.cli import main
from maskinporten_operator.cli.plan import render_json, render_text
from maskinporten_operator.config import Config
from maskinporten_operator.model.conditions import READY, Reason, Verdict
from maskinporten_operator.model.resources import MASKINPORTEN_CLIENT
from maskinporten_operator.plan.outcomes import Outcome, Retry
from maskinporten_operator.plan.planned_writes import ResourcePlan, Write, choose_plans, find_changes
from maskinporten_operator.runtime.dry_run import HORIZON, MAX_PASSES, DryRun, DryRunQueue
from maskinporten_operator.runtime.queue import Key
from maskinporten_operator.runtime.store import Entry
from maskinporten_operator.runtime.virtual_clock import VirtualClock
from maskinporten_operator.runtime.workers import Controller
from tests.unit.fakes import OTHER_SCOPE, SCOPE, private_jwk

KEY = Key(MASKINPORTEN_CLIENT, "some-team", "some-app")
CREATE = Write("POST", "/clients", "register a client", body={"description": "c:some-team:new", "scopes": [SCOPE]})
RENAME = Write(
    "PUT",
    "/clients/some-id",
    "update a client",
    body={"client_name": "New", "scopes": [SCOPE, OTHER_SCOPE], "client_secret": "hidden"},
    before={"client_name": "Old", "scopes": [SCOPE, "some:old"], "client_secret": "other"},
)
KEYS = Write(
    "POST",
    "/clients/some-id/jwks",
    "replace a client's keys",
    body={"keys": [private_jwk(1, "new").public().members, {"kid": "old"}]},
    before={"keys": [{"kid": "old"}, {"kid": "older"}]},
)
GRANT = Write("PUT", "/scopes/access/974761076", "grant access to a scope", {"scope": "nav:some.scope"})
SCOPE_POST = Write("POST", "/scopes", "create a scope", body={"prefix": "nav", "subscope": "some.scope"})
DELETE = Write("DELETE", "/clients/some-id", "delete a client")
WITHDRAW = Write("DELETE", "/scopes", "deactivate a scope", {"scope": "nav:some.scope"})
MASS = Verdict(READY, "Unknown", Reason.MASS_ABSENCE, "9 of 9 registrations vanished at once")
FINE = Verdict(READY, "True", Reason.SYNCHRONIZED, "Fine")


def plan_of(*writes, name="some-app", ready=FINE, notices=()):
    return ResourcePlan("MaskinportenClient", "some-team", name, writes, ready, notices)


def show(*plans):
    return click.unstyle(render_text(plans))


@pytest.mark.parametrize(
    ("writes", "action"),
    [
        ([CREATE, KEYS], "create"),
        ([RENAME, SCOPE_POST], "create"),
        ([KEYS], "change"),
        ([GRANT], "change"),
        ([KEYS, DELETE], "delete"),
        ([WITHDRAW, SCOPE_POST], "delete"),
        ([], "unchanged"),
    ],
)
def test_a_resource_is_counted_by_the_weightiest_of_its_writes(writes, action):
    assert plan_of(*writes).action == action


def test_a_resource_that_is_held_back_is_shown_with_its_reason():
    text = show(plan_of(ready=MASS))

    assert "✗ MaskinportenClient some-team/some-app" in text
    assert "Ready would be Unknown, MassAbsence: 9 of 9 registrations vanished at once" in text
    assert "1 resource: 0 to create, 0 to change, 0 to delete, 1 blocked, 0 unchanged; 0 writes" in text


def test_of_lists_what_comes_and_what_goes_is_told_and_of_other_members_both_values():
    text = show(plan_of(RENAME))

    assert "client_name: Old → New" in text
    assert f"scopes: - some:old, + {OTHER_SCOPE}" in text


def test_nothing_secret_is_shown_and_of_keys_the_ids_alone():
    plans = [plan_of(CREATE, KEYS, RENAME)]
    for text in (show(*plans), render_json(plans)):
        assert "hidden" not in text
        assert private_jwk(1).key.n not in text
    assert "keys: - older, + a new key" in show(*plans)
    assert [change.new for change in find_changes(KEYS)] == [["a new key", "old"]]


def test_each_write_says_what_it_is_about():
    text = show(plan_of(SCOPE_POST, GRANT, WITHDRAW, DELETE))

    assert "create a scope: nav:some.scope  (POST /scopes)" in text
    assert "grant access to a scope: nav:some.scope for 974761076  (PUT /scopes/access/974761076)" in text
    assert "deactivate a scope: nav:some.scope  (DELETE /scopes)" in text
    assert "delete a client: some-id  (DELETE /clients/some-id)" in text


def test_what_stays_as_it_is_is_counted_only():
    text = show(plan_of(name="quiet"), plan_of(CREATE, name="new"))

    assert "quiet" not in text
    assert "2 resources: 1 to create, 0 to change, 0 to delete, 0 blocked, 1 unchanged; 1 write" in text


def test_names_from_manifests_cant_move_the_cursor():
    assert "\x1b" not in show(plan_of(Write("DELETE", "/scopes", "deactivate a scope", {"scope": "nav:\x1b[2J"})))


def test_programs_get_the_sum_and_every_write_with_its_changes():
    document = json.loads(render_json([plan_of(RENAME), plan_of(ready=MASS, name="held")]))

    assert document["summary"] == {"create": 0, "change": 1, "delete": 0, "blocked": 1, "unchanged": 0}
    (write,) = document["resources"][0]["writes"]
    assert (write["method"], write["path"], write["target"]) == ("PUT", "/clients/some-id", "client")
    assert {"field": "client_name", "old": "Old", "new": "New"} in write["changes"]
    assert document["resources"][1]["conditions"][0]["reason"] == "MassAbsence"


def test_a_namespace_and_all_of_them_contradict_each_other():
    outcome = CliRunner().invoke(main, ["plan", "-n", "some-team", "-A"])

    assert (outcome.exit_code, "--namespace or --all-namespaces" in outcome.stderr) == (2, True)


def test_of_applications_those_are_told_that_get_no_client_since_they_arent_ready():
    blocked = Verdict(READY, "False", Reason.INVALID_SPEC, "spec.port: must be a number")
    application = replace(plan_of(ready=blocked), kind="Application")
    others = [replace(application, name="with-client"), plan_of(name="with-client"), replace(application, ready=FINE)]

    assert choose_plans([application, *others]) == [application, others[1]]


SETTINGS = (
    *("--cluster-name", "some-cluster", "--digdir-base-url", "http://localhost:1", "--admin-client-id", "some-id"),
    *("--maskinporten-well-known-url", "http://localhost:1/.well-known/oauth-authorization-server"),
    *("--default-client-scope", "nav:some.scope", "--admin-jwk-file"),
)


@pytest.mark.parametrize(
    ("plans", "options", "code"),
    [
        ([plan_of()], ["--exit-code"], 0),
        ([plan_of(RENAME)], [], 0),
        ([plan_of(RENAME)], ["--exit-code"], 3),
        ([replace(plan_of(RENAME), failed=True)], [], 1),
        ([replace(plan_of(RENAME), failed=True)], ["--exit-code"], 1),
    ],
)
def test_the_exit_code_tells_whether_it_could_be_planned_and_if_asked_whether_there_is_something_to_do(
    monkeypatch, tmp_path, plans, options, code
):
    file = tmp_path / "some.jwk"
    file.touch()

    async def plan_writes(*_):
        return tuple(plans)

    monkeypatch.setattr(planned_passes, "plan_writes", plan_writes)
    monkeypatch.setattr(logs, "configure_logs", lambda *_: None)  # it would hold for the tests that follow
    outcome = CliRunner().invoke(main, ["plan", *SETTINGS, str(file), *options])

    assert (outcome.exit_code, "1 resource:" in outcome.stdout) == (code, True), outcome.output
    assert ("Error: the plan is incomplete" in outcome.stderr) == (code == 1)
    assert ("some-team/some-app" in outcome.stderr) == (code == 1)


@pytest.mark.parametrize(("namespace", "where"), [(None, ""), ("some-team", " in namespace some-team")])
def test_that_there_is_nothing_to_plan_for_is_told(namespace, where):
    assert render_text([], namespace) == f"There is no MaskinportenClient{where}, and no Application that needs one."


def test_each_example_in_the_help_of_a_command_has_options_and_values_that_it_takes():
    checked = []
    # With it as their parent: a command keeps the names of its help option from the first context that it is given.
    program = main.make_context("maskinporten-operator", [], resilient_parsing=True)
    for name, command in main.commands.items():
        for line in (command.help or "").splitlines():
            example = re.split(r" [|>\\]", line.strip())[0]
            _, named, arguments = example.partition(f"maskinporten-operator {name} ")
            if not (line.strip().startswith("$ ") and named):
                continue
            given = command.make_context(name, shlex.split(arguments), parent=program, resilient_parsing=True).params
            for key in given.keys() & Config.model_fields.keys() - {"admin_jwk_file"}:
                if given[key] is not None:
                    Config.__pydantic_validator__.validate_assignment(Config.model_construct(), key, given[key])
            checked.append(name)
    assert "plan" in checked


class Pass:
    """Ends each pass as it is told to, the last one again and again, and notes when they were made."""

    def __init__(self, *retries):
        self.retries = list(retries)
        self.clock = VirtualClock()
        self.queue = DryRunQueue(self.clock)
        self.made = []

    def find(self, key):
        return Entry({}, None)

    async def reconcile(self, body, first_seen):
        self.made.append(round(self.clock.passed, 3))
        retry = self.retries.pop(0) if len(self.retries) > 1 else self.retries[0]
        return Outcome((), retry, 20)

    async def run(self):
        self.queue.add(KEY)
        controller = Controller(self, self.reconcile, lambda *_: None)
        await DryRun(self.queue, {MASKINPORTEN_CLIENT: controller}, lambda *_: None, workers=2).run()
        return self.made


async def test_what_is_waited_for_within_the_horizon_has_come_at_once():
    assert await Pass(Retry(30.0, failed=False), Retry(0.0, failed=False), None).run() == [0.0, 30.0, 30.0]


async def test_a_wait_beyond_the_horizon_ends_the_plan():
    long = Pass(Retry(HORIZON + 1, failed=False))

    assert await long.run() == [0.0]


async def test_what_failed_isnt_tried_again_and_a_conflict_is():
    assert await Pass(Retry(None, failed=True)).run() == [0.0]
    assert await Pass(Retry(None, failed=False, at_once=True), None).run() == [0.0, 0.0]


async def test_passes_without_end_are_given_up():
    assert len(await Pass(Retry(0.0, failed=False)).run()) == MAX_PASSES
