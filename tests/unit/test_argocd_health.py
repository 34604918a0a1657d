"""The health check for Argo CD, run as Argo CD does, in Lua 5.1."""

import pytest
from lupa import lua51

from tests.lifecycles import TERMINATING, record
from tools.generate.__main__ import ROOT

SCRIPT = (ROOT / "deploy" / "argocd" / "health.lua").read_text()
WORDS = {"Current": "Healthy", "InProgress": "Progressing", "Failed": "Degraded"}


@pytest.fixture
def judge():
    runtime = lua51.LuaRuntime()
    run = runtime.eval(f"function(obj) {SCRIPT} end")
    return lambda body: dict(run(runtime.table_from(body, recursive=True)))


def test_every_moment_of_a_life_cycle_is_judged_as_it_is(judge):
    # Argo CD asks no script about what is being deleted.
    moments = [one for one in record() if one.expected != TERMINATING]

    judged = {(one.cycle, one.what): judge(one.body)["status"] for one in moments}

    assert judged == {(one.cycle, one.what): WORDS[one.expected] for one in moments}


def test_what_failed_is_told_in_the_words_of_the_condition(judge):
    failed = next(one for one in record() if one.expected == "Failed")
    (ready,) = (one for one in failed.body["status"]["conditions"] if one["type"] == "Ready")

    assert judge(failed.body)["message"] == f"{ready['reason']}: {ready['message']}"


def test_a_status_of_naiss_own_crd_which_has_no_observed_generation_is_judged_by_the_condition(judge):
    current = next(one for one in record() if one.expected == "Current").body
    status = {name: value for name, value in current["status"].items() if name != "observedGeneration"}
    later = {**current, "metadata": current["metadata"] | {"generation": 99}}

    assert judge({**current, "status": status})["status"] == "Healthy"
    assert judge({**later, "status": status})["status"] == "Progressing"


def test_the_documentation_shows_the_script_for_both_kinds():
    text = (ROOT / "docs" / "gitops.md").read_text()

    assert "resource.customizations.health.nais.io_Application" in text
    assert "resource.customizations.health.nais.io_MaskinportenClient" in text
    assert "".join(f"    {line}\n" for line in SCRIPT.splitlines()) in text
