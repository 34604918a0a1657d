"""The simulator against the contract of DigDir's API: it knows all of it, and says who breaks it."""

import typing

import pytest

from digdir_contract import load
from digdir_simulator import Config, Manners, create_app, jws, tokens
from digdir_simulator.app import HANDLERS
from digdir_simulator.config import Settings

CONTRACT = load()


def possible_values(annotation):
    return [False, True] if annotation is bool else list(typing.get_args(annotation))


def test_the_simulator_carries_out_every_operation_of_the_contract_and_no_other():
    assert HANDLERS.keys() == CONTRACT.operations.keys()


def test_the_token_endpoint_takes_the_claims_and_algorithms_of_the_contract():
    assertion = CONTRACT.assertion
    assert {*tokens._CLAIMS, "authorization_details"} == {*assertion.required, *assertion.optional}
    assert tuple(jws.HASHES) == assertion.algorithms
    assert (Manners().assertion_max_seconds, Manners().assertion_skew_seconds) == (
        assertion.max_seconds,
        assertion.skew_seconds,
    )


def test_there_is_a_setting_for_each_question_that_the_contract_leaves_open():
    fields = {name: field.annotation for name, field in Manners.model_fields.items()}
    assert fields.keys() == CONTRACT.unknown.keys()
    assert {name: possible_values(annotation) for name, annotation in fields.items()} == {
        name: list(unknown.values) for name, unknown in CONTRACT.unknown.items()
    }


def test_a_simulator_starts_with_the_answers_that_the_contract_assumes():
    assert Manners().model_dump() == {name: unknown.assumed for name, unknown in CONTRACT.unknown.items()}
    assert Settings.model_fields.keys() - Manners.model_fields.keys() == {
        "latency_ms",
        "list_lag_seconds",
        "propagation_delay_seconds",
    }


@pytest.mark.parametrize(
    ("prefix", "paths"),
    [
        ("/api/v1", {"/api/v1/clients", "/api/v2/clients/{client_id}/key"}),
        ("/external/api/v1", {"/external/api/v1/clients", "/external/api/v2/clients/{client_id}/key"}),
        ("", {"/clients", "/v2/clients/{client_id}/key"}),
    ],
)
def test_each_version_of_the_api_has_its_prefix(prefix, paths):
    routes = {route.path for route in create_app(Config(api_prefix=prefix)).routes}
    assert paths <= routes


async def violations_of(digdir):
    return [(one["operation"], one["violations"]) for one in await digdir.control("GET", "/violations")]


@pytest.mark.violates
async def test_an_unknown_parameter_is_passed_over_and_noted(digdir):
    assert (await digdir.admin("GET", "/clients", params={"page": "2"})).status_code == 200
    assert await violations_of(digdir) == [("list-clients", ["query page is no parameter of the operation"])]


@pytest.mark.violates
async def test_an_unknown_member_is_passed_over_and_noted(digdir):
    client = await digdir.create(client_uri="https://nav.no")
    assert "client_uri" not in client
    await digdir.create_scope(unknown=1)
    assert await violations_of(digdir) == [
        ("create-client", ["body client_uri is not known"]),
        ("create-scope", ["body unknown is not known"]),
    ]


@pytest.mark.violates
async def test_a_wrong_type_is_refused_and_noted(digdir, problems):
    wrong = digdir.client_request(access_token_lifetime="120")
    assert problems(await digdir.admin("POST", "/clients", json=wrong), 400) == [
        "access_token_lifetime must be an integer"
    ]
    assert problems(await digdir.http.get("/api/v1/scopes/all?delegated_sources=https://www.altinn.no/"), 400) == [
        "delegated_sources must be true or false"
    ]
    assert [operation for operation, _ in await violations_of(digdir)] == ["create-client", "list-all-scopes"]


@pytest.mark.violates
async def test_a_word_that_is_no_integration_type_is_noted(digdir):
    assert (await digdir.http.get("/api/v1/scopes/all?integration_type=other")).status_code == 200
    assert [operation for operation, _ in await violations_of(digdir)] == ["list-all-scopes"]


@pytest.mark.violates
async def test_a_path_of_no_operation_is_noted(digdir, problems):
    assert problems(await digdir.admin("GET", "/clients/some/secret"), 404)
    (entry,) = await digdir.control("GET", "/violations")
    assert (entry["operation"], entry["path"], entry["status"]) == ("unpublished", "/api/v1/clients/some/secret", 404)


@pytest.mark.violates
async def test_what_only_the_operation_can_tell_is_noted_too(digdir):
    client_id = (await digdir.create())["client_id"]
    await digdir.admin("PUT", f"/clients/{client_id}", json=digdir.client_request(client_id="other"))
    await digdir.admin("POST", "/clients", json=digdir.client_request(supplier_orgno="974761076"))
    await digdir.create_scope(owner_orgno="974761076")
    assert await violations_of(digdir) == [
        ("update-client", ["body client_id must be that of the path"]),
        ("create-client", ["body supplier_orgno needs idporten:dcr.supplier"]),
        ("create-scope", ["body owner_orgno must be the organisation of the token"]),
    ]


@pytest.mark.violates
async def test_a_call_is_noted_whatever_becomes_of_it(digdir):
    await digdir.fault(kind="status", path="/clients$")
    await digdir.admin("GET", "/clients?page=2")
    await digdir.admin("GET", "/clients?page=2", token="none")
    assert [one["status"] for one in await digdir.control("GET", "/violations")] == [503, 401]


@pytest.mark.violates
async def test_violations_are_in_the_ledger_and_go_with_it(digdir):
    await digdir.admin("GET", "/clients?page=2")
    (entry,) = (await digdir.control("GET", "/ledger?operation=list-clients"))["entries"]
    assert entry["violations"] == ["query page is no parameter of the operation"]
    await digdir.control("DELETE", "/ledger")
    assert await violations_of(digdir) == []


async def test_what_digdirs_own_web_form_sends_breaks_nothing(digdir):
    client = await digdir.create()
    back = {name: value for name, value in client.items() if name not in {"created", "last_updated"}}
    assert (await digdir.admin("PUT", f"/clients/{client['client_id']}", json=back)).status_code == 200
    assert await violations_of(digdir) == []
