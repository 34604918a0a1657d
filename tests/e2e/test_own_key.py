"""The operator renews its own key, on a real API server, by the right to its Secret."""

import json
from datetime import UTC, datetime

import pytest

from maskinporten_operator.plan.admin_key import RECORD, Renewal
from tests.e2e.stage import PATIENCE
from tools.kube import wait_for

pytestmark = pytest.mark.e2e

ENTRY = "jwk.json"


def test_an_old_key_is_renewed_in_its_secret_and_taken_up_without_a_restart(bare_stage, namespace):
    stage, file = bare_stage, bare_stage.simulator.admin_jwk_file
    first = json.loads(file.read_text())
    # What an earlier renewal left there; by DigDir the key is new.
    earlier = Renewal(first["kid"], "an-earlier-key", datetime(2020, 1, 1, tzinfo=UTC)).serialize()
    values = {ENTRY: file.read_text(), "other": "stays"}
    stage.create_secret(namespace, "admin", values, annotations={RECORD: earlier})

    place = f"{namespace}/admin/{ENTRY}"
    operator = stage.start_ready(admin_key_rotation="true", admin_key_secret=place, key_grace="0")
    operator.wait_for_output("the operator's own key was renewed", PATIENCE)

    secret = stage.read_secret(namespace, "admin")
    renewed = json.loads(secret[ENTRY])
    assert renewed["kid"] != first["kid"]
    assert secret["other"] == "stays"
    assert operator.metric("maskinporten_operator_admin_key_age_seconds") == 0
    assert operator.metric("maskinporten_operator_admin_key_renewal_blocked") == 0

    file.write_text(secret[ENTRY])  # as the kubelet does
    stage.create_ready(namespace)  # goes on by the token that there is
    wait_for(lambda: "AdminKeyRenewed" in events(stage, namespace), PATIENCE, "the Event")


def events(stage, namespace):
    found = stage.kube.request("GET", f"/api/v1/namespaces/{namespace}/events")["items"]
    return {one["reason"] for one in found if one["involvedObject"]["kind"] == "Secret"}
