"""`doctor` against the simulator in this process: what it says in each manner of DigDir's, and of each thing wrong."""

import asyncio
import base64
import dataclasses
import io
import json
import logging
import time
from datetime import UTC, datetime
from email.utils import formatdate

import httpx
import pytest
import structlog
from jose import jwk
from pydantic import ValidationError

from digdir_contract import load
from digdir_simulator import Config, create_app, jws
from digdir_simulator.faults import FaultOrder
from digdir_simulator.in_process import InProcessTransport
from maskinporten_operator.adapters.signers.signer import SigningError
from maskinporten_operator.assembly.checkup import diagnose
from maskinporten_operator.assembly.diagnosis import World
from maskinporten_operator.cli.doctor import build_report, render
from maskinporten_operator.config import Config as OperatorConfig
from maskinporten_operator.logs import configure_logs
from maskinporten_operator.plan.exposed_scopes import is_ownership
from maskinporten_operator.plan.findings import MAX_RUN_SECONDS, TRIAL, build_trial_description
from tests.adapters.conftest import URL, WELL_KNOWN, ManualClock
from tests.certificates import authority
from tests.manners import LAX, ODD, STRICT
from tests.unit.fakes import rsa_key

NEEDED = ("idporten:dcr.write", "idporten:dcr.read", "idporten:scopes.write")
API_URL, TEST_URL = "https://api.test.samarbeid.digdir.no", "https://test.maskinporten.no"
PRODUCTION_URL = "https://maskinporten.no"
DISCOVERY = "/.well-known/oauth-authorization-server"


class Unread(httpx.AsyncByteStream):
    """A body that is still to be read, as on a network."""

    def __init__(self, content):
        self.content = content

    async def __aiter__(self):
        yield self.content


def answer(status, content=b"", **headers):
    return httpx.Response(status, headers=headers, stream=Unread(content))


HTML = b"<html><body>Sign in</body></html>"


def as_json(document, status=200):
    return answer(status, json.dumps(document).encode(), **{"Content-Type": "application/json"})


class Network(InProcessTransport):
    """The simulator's network: its answers tell the time, and what `instead` says takes their place.

    Attributes:
        instead: Functions of a request and its answer, by the end of the path.
        secrets: The assertions and tokens that went over it.
    """

    def __init__(self, app, clock):
        super().__init__(app)
        self.clock = clock
        self.instead = {}
        self.secrets = set()

    async def handle_async_request(self, request):
        await request.aread()
        if request.url.path.endswith("/token"):
            self.secrets.add(dict(httpx.QueryParams(request.content.decode()))["assertion"])
        for path, change in self.instead.items():
            if request.url.path.endswith(path):
                return change(request, await self._ask(request))
        return await self._ask(request)

    async def _ask(self, request):
        response = await super().handle_async_request(request)
        await response.aread()
        if request.url.path.endswith("/token") and response.is_success:
            self.secrets.add(response.json()["access_token"])
        headers = dict(response.headers) | {"date": formatdate(self.clock.now, usegmt=True)}
        return answer(response.status_code, response.content, **headers)


def giving(status, content=b"", media_type="text/html"):
    """Answer so, whatever was asked."""
    return lambda *_: answer(status, content, **{"Content-Type": media_type})


def raising(error):
    def fail(*_):
        raise error

    return fail


def changing(change):
    """Answer as the simulator does, but for what `change` does to the document."""

    def answer_so(_, response):
        document = json.loads(response.stream.content)
        return as_json(change(document) or document, response.status_code)

    return answer_so


class Practice:
    """Somebody runs `doctor`, and reads what it says."""

    def __init__(self, tmp_path, admin_jwk, public_url=URL, trusted="", **settings):
        self.server_clock = ManualClock(float(1_760_000_000))
        self.clock, self.monotonic = ManualClock(self.server_clock.now + 0.4), ManualClock(1000.0)
        self.app = create_app(
            Config(
                public_url=public_url,
                admin_jwk=None if trusted else jws.public_jwk(admin_jwk),
                trusted_certificates=trusted or None,
            ),
            clock=self.server_clock,
        )
        self.simulator = self.app.state.simulator
        self.simulator.settings = type(self.simulator.settings).model_validate(settings)
        self.network = Network(self.app, self.server_clock)
        self.jwk_file = tmp_path / "admin.jwk"
        self.jwk_file.write_text(json.dumps(admin_jwk))
        self.settings = {
            "cluster_name": "some-cluster",
            "digdir_base_url": URL,
            "maskinporten_well_known_url": WELL_KNOWN,
            "admin_client_id": "admin-client",
            "admin_jwk_file": self.jwk_file,
        }
        self.checks, self.noted = [], []

    async def sleep(self, seconds):
        for clock in (self.server_clock, self.clock, self.monotonic):
            clock.advance(seconds)

    async def examine(self, *, write=False, **settings):
        """Run it; what the run before told is forgotten."""
        self.checks.clear()
        config = OperatorConfig(**self.settings | settings)
        world = World(self.network, self.clock, self.monotonic, self.sleep, lambda: rsa_key(0))
        diagnosis = await diagnose(config, self.checks.append, self.noted.append, write=write, world=world)
        self.report = build_report(config, diagnosis, datetime.now(UTC), write=write)
        self.answered = diagnosis.answered
        self.text = "\n".join(map(render, self.checks))
        return diagnosis

    def states(self, state):
        return [check.name for check in self.checks if check.state == state]

    def find(self, name):
        return next(check for check in self.checks if check.name == name)

    def fault(self, kind, **order):
        return self.simulator.faults.add(FaultOrder(kind=kind, **order))

    def without(self, *rights):
        """DigDir gave the operator's client other scopes."""
        client = self.simulator.state.client("admin-client")
        kept = tuple(one for one in client.scopes if one not in rights)
        self.simulator.state.put_client(
            dataclasses.replace(client, fields={**client.fields, "scopes": list(kept)}), self.server_clock.now
        )

    def quote(self, path, status):
        """Whoever answers quotes what was sent in confidence, wherever it can."""

        def answer_so(request, response):
            token = request.headers.get("Authorization", "").removeprefix("Bearer ")
            secret = token or dict(httpx.QueryParams(request.content.decode()))["assertion"]
            error = {"error": "invalid_scope", "error_description": f"invalid {secret}", secret: secret}
            if status >= 400:
                return as_json(error, status)
            document = json.loads(response.stream.content)
            rows = document if isinstance(document, list) else [document]
            quoting = [{**row, secret: 1, "extra": secret} for row in rows]
            return as_json(quoting if rows is document else quoting[0], status)

        self.network.instead[path] = answer_so

    def find_trials(self):
        """The clients that it made."""
        found = [one.current for one in self.simulator.state.clients.values()]
        return [one for one in found if one.fields["description"].startswith(TRIAL)]

    @property
    def active_trials(self):
        return [one.client_id for one in self.find_trials() if one.active]


@pytest.fixture
def practise(tmp_path, admin_jwk):
    made = []

    def practise(**settings):
        made.append(Practice(tmp_path, admin_jwk, **settings))
        return made[-1]

    yield practise
    for one in made:
        assert one.simulator.ledger.violating() == []


EACH_ANSWER = [{name: value} for name, one in load().unknown.items() for value in one.values]
MANNERS = {"default": {}, "strict": STRICT, "lax": LAX, "odd": ODD}
MANNERS |= {f"{name}={value}": one for one in EACH_ANSWER for name, value in one.items()}


# Where nothing is wrong


@pytest.mark.parametrize("manner", MANNERS.values(), ids=MANNERS)
async def test_nothing_is_wrong_in_any_manner_and_writing_leaves_nothing_active_behind(practise, manner):
    practice = practise(**manner)

    diagnosis = await practice.examine(write=True)

    assert practice.states("failed") == practice.states("warning") == practice.states("skipped") == []
    assert not diagnosis.failed
    assert practice.active_trials == []
    assert len(practice.find_trials()) == 1
    settings = practice.simulator.settings.model_dump()
    assert practice.answered == {name: settings[name] for name in practice.answered}


async def test_questions_that_nothing_public_answers_are_answered_by_what_was_seen(practise):
    practice = practise(**STRICT)
    await practice.examine(write=True)

    assert practice.answered.keys() == {
        *("allow_clients_without_scopes", "created_status", "deleted_status", "empty_jwks", "empty_list_is_error"),
        *("inactive_client_is_found", "list_includes_jwks", "missing_keys_deletion_status"),
        "scope_read_with_write_right",
    }
    assert practice.report["answeredQuestions"] == practice.answered


@pytest.mark.parametrize("manner", [STRICT, LAX], ids=["strict", "lax"])
async def test_without_write_nothing_is_written(practise, manner):
    practice = practise(**manner)
    await practice.examine()

    assert practice.states("failed") == []
    calls = practice.simulator.ledger.summary()["operations"]
    assert set(calls) == {
        *("token", "list-clients", "read-client", "list-keys", "list-own-scopes", "read-scope", "list-accesses"),
        *("list-accesses-given-to-me", "list-all-scopes", "list-delegation-sources", "list-own-prefixes"),
    }


async def test_the_token_is_told_with_client_and_organisation(practise):
    practice = practise()
    await practice.examine()

    assert "client admin-client of organisation 889640782" in practice.find("token").message


async def test_a_prefix_that_isnt_the_organisations_is_told(practise):
    practice = practise()
    diagnosis = await practice.examine(scope_prefix="ks")

    assert practice.find("scope prefix").state == "warning"
    assert "SCOPE_PREFIX is ks, and the organisation's are: nav" in practice.text
    assert not diagnosis.failed


@pytest.mark.parametrize("manner", [STRICT, LAX, ODD], ids=["strict", "lax", "odd"])
async def test_a_certificate_is_as_good_as_a_key(practise, tmp_path, manner):
    root = authority()
    certified = root.issue()
    practice = practise(trusted=root.chain_pem, **manner)
    (tmp_path / "chain.pem").write_text(certified.chain_pem)
    (tmp_path / "key.pem").write_text(certified.key_pem)
    practice.clock.now = practice.server_clock.now = float(int(time.time()))
    files = {"admin_cert_chain_file": tmp_path / "chain.pem", "admin_key_file": tmp_path / "key.pem"}
    await practice.examine(write=True, admin_jwk_file=None, **files)

    assert practice.states("failed") == practice.states("warning") == []
    assert practice.report["settings"]["credentials"] == "certificate"
    assert practice.active_trials == []


ARN = "arn:aws:kms:eu-north-1:123456789012:key/0f0b3a46-5f60-4bd0-a5a3-b9a6a4b4c1f2"


class Holder:
    """Signs by a key that it holds for others."""

    def __init__(self, members):
        self.key = jwk.construct(members, "RS256")

    def sign(self, message):
        return self.key.sign(message)


@pytest.fixture
def let_another_sign(monkeypatch):
    def let_another_sign(members, error=None):
        holder = Holder(members)
        if error:
            monkeypatch.setattr(holder, "sign", raising(error))
        monkeypatch.setattr("maskinporten_operator.adapters.digdir.credentials.open_signer", lambda _: holder)
        return {"admin_jwk_file": None, "admin_signer": ARN, "admin_key_id": members["kid"]}

    return let_another_sign


async def test_a_signer_is_named_proven_and_compared_with_the_registered_key(practise, admin_jwk, let_another_sign):
    practice = practise()
    await practice.examine(**let_another_sign(admin_jwk))

    assert practice.states("failed") == practice.states("warning") == []
    assert practice.find("signer").message.startswith("AWS KMS signs for the operator, in ")
    assert practice.find("signer's key").message == f"is the one registered as {admin_jwk['kid']}"
    assert practice.report["settings"]["signer"] == "AWS KMS"


# Where something is wrong


async def test_a_signer_that_doesnt_sign_is_told_first(practise, admin_jwk, let_another_sign):
    practice = practise()
    await practice.examine(**let_another_sign(admin_jwk, SigningError("AWS KMS doesn't sign (AccessDeniedException)")))

    assert practice.states("failed")[0] == "signer"
    assert "AccessDeniedException" in practice.find("signer").message
    assert "A cluster admin must check ADMIN_SIGNER" in practice.find("signer").remedy


async def test_a_signer_by_another_key_than_the_certificates_is_told(practise, tmp_path, jwks, let_another_sign):
    root = authority()
    practice = practise(trusted=root.chain_pem)
    (tmp_path / "chain.pem").write_text(root.issue().chain_pem)
    settings = let_another_sign(jwks[0]) | {"admin_key_id": None, "admin_cert_chain_file": tmp_path / "chain.pem"}
    await practice.examine(**settings)

    assert (
        practice.find("signer").message == "AWS KMS signs for the operator by another key than the first certificate's"
    )


async def test_another_key_of_the_same_id_is_told(practise, jwks, admin_jwk):
    practice = practise()
    practice.jwk_file.write_text(json.dumps({**jwks[0], "kid": admin_jwk["kid"]}))
    diagnosis = await practice.examine(write=True)

    assert diagnosis.failed
    assert practice.states("failed") == ["token"]
    assert "HTTP 400: Invalid assertion. Client authentication failed. Invalid signature" in practice.text
    assert "A cluster admin must check ADMIN_CLIENT_ID and the credentials" in practice.text
    assert "clock" not in practice.find("token").remedy


async def test_a_client_that_maskinporten_doesnt_know_is_told(practise):
    practice = practise()
    await practice.examine(admin_client_id="of-production")

    assert practice.states("failed") == ["token"]
    assert "gives client of-production no token" in practice.text
    assert "the environment of MASKINPORTEN_WELL_KNOWN_URL" in practice.text


@pytest.mark.parametrize("right", NEEDED)
@pytest.mark.parametrize("manner", [STRICT, LAX], ids=["strict", "lax"])
async def test_a_right_that_the_client_lacks_is_named(practise, right, manner):
    practice = practise(**manner)
    practice.without(right)
    diagnosis = await practice.examine(write=True)

    assert diagnosis.failed
    assert practice.states("failed") == ["token", f"right {right}"]
    remedy = practice.find(f"right {right}").remedy
    assert remedy == f"Whoever administers the organisation's clients at DigDir must give client admin-client {right}"
    assert practice.active_trials == []


@pytest.mark.parametrize("right", NEEDED)
async def test_a_right_that_isnt_asked_for_is_named(practise, right):
    practice = practise()
    asked = [one for one in NEEDED if one != right]
    await practice.examine(write=True, admin_scopes=" ".join(asked))

    assert practice.states("failed") == [f"right {right}"]
    assert practice.find(f"right {right}").remedy == "A cluster admin must name it in ADMIN_SCOPES"
    assert practice.active_trials == []


async def test_without_any_right_all_are_named(practise):
    practice = practise()
    practice.without(*NEEDED)
    await practice.examine(write=True)

    assert practice.states("failed") == ["token", *(f"right {right}" for right in NEEDED)]
    assert practice.states("skipped") == ["API with a token", "writing"]


async def test_an_api_that_refuses_what_the_token_allows_is_told(practise):
    practice = practise()
    body = {"error_description": "no", "errors": []}
    practice.network.instead["/clients"] = lambda *_: as_json(body, 403)
    await practice.examine(write=True)

    assert practice.states("failed") == ["right idporten:dcr.read", "list clients"]
    assert practice.find("list clients").message == "GET /clients gave HTTP 403: no"


@pytest.mark.parametrize("status", [401, 429, 503])
async def test_a_refusal_of_every_call_is_told_with_who_can_mend_it(practise, status):
    practice = practise()
    practice.fault("status", status=status, path="^/api/", times=None)
    diagnosis = await practice.examine(write=True)

    assert diagnosis.failed
    remedy = practice.find("list clients").remedy
    assert ("same environment" if status == 401 else "Try again later") in remedy


@pytest.mark.parametrize(
    ("path", "named", "where"),
    [(DISCOVERY, "discovery", WELL_KNOWN), ("/delegationsources", "API without a token", URL)],
)
async def test_a_host_that_cant_be_reached_is_told(practise, path, named, where):
    practice = practise()
    error = httpx.ConnectError("no")
    error.__cause__ = OSError("all failed")
    error.__cause__.__cause__ = ConnectionRefusedError(111, "refused")
    practice.network.instead[path] = raising(error)
    diagnosis = await practice.examine()

    assert diagnosis.failed
    assert practice.states("failed") == [named]
    assert practice.states("skipped") == ["API with a token"]
    check = practice.find(named)
    assert "(ConnectError: nothing listens there)" in check.message
    assert where in check.message
    assert "A cluster admin must check the address, DNS, HTTPS_PROXY" in check.remedy


@pytest.mark.parametrize(
    ("path", "named"),
    [
        (DISCOVERY, "discovery"),
        ("/delegationsources", "API without a token"),
        ("/token", "token"),
        ("/clients", "list clients"),
        ("/scopes/all", "list open scopes"),
    ],
)
@pytest.mark.parametrize("status", [200, 302, 403, 404])
async def test_a_web_page_is_told_from_an_answer(practise, path, named, status):
    practice = practise()
    practice.network.instead[path] = giving(status, HTML)
    diagnosis = await practice.examine()

    assert diagnosis.failed
    assert named in practice.states("failed")
    assert "isn't DigDir's API but a web page, a gateway or a proxy" in practice.find(named).remedy
    assert "Sign in" not in practice.text + json.dumps(practice.report)


@pytest.mark.parametrize("issuer", ["http://[", "", "nowhere", 1])
async def test_metadata_without_an_address_are_told(practise, issuer):
    practice = practise()
    practice.network.instead[DISCOVERY] = changing(lambda one: one | {"token_endpoint": issuer})
    await practice.examine()

    assert practice.states("failed") == ["discovery"]


async def test_a_fault_is_no_word_on_a_right(practise):
    practice = practise()
    practice.network.instead["/clients"] = giving(503, b"", "")
    await practice.examine()

    assert practice.find("right idporten:dcr.read").state == "warning"
    assert practice.find("right idporten:dcr.read").remedy.startswith("Try again later")


async def test_a_gateway_without_words_is_told(practise):
    practice = practise()
    practice.network.instead["/clients"] = giving(502, b"", "")
    await practice.examine()

    assert practice.find("list clients").message == "GET /clients gave HTTP 502 without a body"


async def test_json_that_isnt_maskinportens_metadata_is_told(practise):
    practice = practise()
    practice.network.instead[DISCOVERY] = lambda *_: as_json({"issuer": "x"})
    await practice.examine()

    assert practice.states("failed") == ["discovery"]
    assert practice.find("discovery").remedy == "A cluster admin must check MASKINPORTEN_WELL_KNOWN_URL"


# Test and production mixed up

MIXED = {
    "addresses": ({"digdir_base_url": "https://api.samarbeid.digdir.no"}, None),
    "the other addresses": (
        {"maskinporten_well_known_url": PRODUCTION_URL + DISCOVERY},
        None,
    ),
    "issuer": ({}, {"issuer": f"{PRODUCTION_URL}/"}),
    "token endpoint": ({}, {"token_endpoint": f"{PRODUCTION_URL}/token"}),
    "everything but the address": ({}, {"issuer": f"{PRODUCTION_URL}/", "token_endpoint": f"{PRODUCTION_URL}/token"}),
}
IN_TEST = {
    "digdir_base_url": API_URL,
    "maskinporten_well_known_url": TEST_URL + DISCOVERY,
}


@pytest.mark.parametrize(("settings", "metadata"), MIXED.values(), ids=MIXED)
async def test_environments_that_are_mixed_up_are_told_and_nobody_gets_a_token(practise, settings, metadata):
    practice = practise(public_url=TEST_URL)
    practice.network.instead[DISCOVERY] = lambda *_: as_json(
        {"issuer": f"{TEST_URL}/", "token_endpoint": f"{TEST_URL}/token", "jwks_uri": f"{TEST_URL}/jwk"}
        | (metadata or {})
    )
    diagnosis = await practice.examine(write=True, **IN_TEST | settings)

    assert diagnosis.failed
    (name,) = practice.states("failed")
    assert "environments are mixed up" in practice.find(name).message
    assert "of production" in practice.find(name).message
    assert "of test" in practice.find(name).message
    assert "to the same environment" in practice.find(name).remedy
    assert practice.network.secrets == set()


async def test_an_environment_of_digdirs_is_named(practise):
    practice = practise(public_url=TEST_URL)
    await practice.examine(digdir_base_url=API_URL, maskinporten_well_known_url=TEST_URL + DISCOVERY)

    assert practice.states("failed") == practice.states("warning") == []
    assert practice.find("addresses").message.startswith("DigDir's test environment: ")


async def test_a_host_of_nobodys_beside_one_of_digdirs_is_told(practise):
    practice = practise()
    diagnosis = await practice.examine(digdir_base_url=API_URL)

    assert practice.find("addresses").state == "warning"
    assert "of none" in practice.find("addresses").message
    assert not diagnosis.failed


async def test_another_issuer_than_the_address_says_is_told(practise):
    practice = practise()
    practice.network.instead[DISCOVERY] = changing(lambda one: one | {"issuer": "http://other/"})
    await practice.examine()

    assert practice.find("issuer").state == "warning"
    assert f"{WELL_KNOWN} tells of another issuer, http://other/" in practice.text


# Clocks


@pytest.mark.parametrize(("lead", "state"), [(0, "passed"), (5, "warning"), (-5, "warning"), (60, "failed")])
async def test_a_clock_that_is_off_is_told(practise, lead, state):
    practice = practise(assertion_skew_seconds=10)
    practice.clock.advance(lead)
    diagnosis = await practice.examine()

    assert practice.find("clock").state == state
    assert diagnosis.failed == (state == "failed")
    if lead:
        assert f"{abs(lead)} s {'ahead of' if lead > 0 else 'behind'}" in practice.find("clock").message


async def test_a_token_that_is_refused_for_the_clock_names_the_clock(practise):
    practice = practise()
    practice.clock.advance(-300)
    await practice.examine()

    assert practice.states("failed") == ["clock", "token"]
    assert "JWT has expired" in practice.find("token").message
    assert "and the clock, which may be all that is wrong" in practice.find("token").remedy


# Answers of another shape


def set_first(**members):
    def change(rows):
        rows[0].update(members)

    return changing(change)


def set_all(**members):
    def change(rows):
        for row in rows:
            row.update(members)

    return changing(change)


def drop_all(name):
    def change(rows):
        for row in rows:
            del row[name]

    return changing(change)


@pytest.mark.parametrize(
    ("path", "change", "named", "checks"),
    [
        ("/clients", set_all(scopes="a b"), "list clients", "[].scopes must be an array"),
        ("/clients", set_all(access_token_lifetime="1"), "list clients", "[].access_token_lifetime must be an"),
        ("/clients", drop_all("client_id"), "list clients", "client_id is missing"),
        ("/clients", drop_all("description"), "list clients", "description is missing"),
        ("/clients", changing(lambda rows: {"items": rows}), "list clients", "must be a JSON array"),
        ("/scopes/access/all", set_all(state=1), "list granted scopes", "[].state must be a string"),
        ("/scopes", drop_all("name"), "list own scopes", "name is missing"),
        ("/delegationsources", drop_all("issuer"), "API without a token", "issuer is missing"),
    ],
)
async def test_an_answer_of_another_shape_is_told_by_what_differs(practise, path, change, named, checks):
    practice = practise()
    practice.network.instead[path] = change
    diagnosis = await practice.examine()

    assert diagnosis.failed
    assert named in practice.states("failed")
    assert checks in practice.find(named).message
    assert practice.find(named).remedy == "Send the report (-o json) to whoever maintains the operator"
    assert any(checks in line for one in practice.report["answers"] for line in one["differences"])


def put_before(change):
    """A row of which the rest of the list is a better example."""

    def answer_so(rows):
        rows.insert(0, dict(rows[0]))
        change(rows[0])

    return changing(answer_so)


@pytest.mark.parametrize(
    ("path", "change", "named", "checks"),
    [
        ("/clients", lambda row: row.pop("scopes"), "list clients", "scopes is missing"),
        ("/clients", lambda row: row.pop("description"), "list clients", "description is missing"),
        ("/clients", lambda row: row.update(scopes="a b"), "list clients", "[].scopes must be an array"),
        ("/scopes", lambda row: row.pop("name"), "list own scopes", "name is missing"),
        ("/scopes/access/all", lambda row: row.pop("state"), "list granted scopes", "state is missing"),
        ("/delegationsources", lambda row: row.pop("issuer"), "API without a token", "issuer is missing"),
    ],
)
async def test_one_odd_row_of_a_list_is_told_and_does_no_harm(practise, path, change, named, checks):
    practice = practise()
    practice.network.instead[path] = put_before(change)
    diagnosis = await practice.examine()

    assert not diagnosis.failed
    assert named in practice.states("warning")
    assert checks in practice.find(named).message
    assert practice.find(named).remedy == "Send the report (-o json) to whoever maintains the operator"


async def test_a_member_that_nobody_knows_is_told_and_does_no_harm(practise):
    practice = practise()
    practice.network.instead["/clients"] = set_first(brand_new="some value")
    diagnosis = await practice.examine()

    assert practice.states("warning") == ["list clients"]
    assert "[].brand_new is not known" in practice.text
    assert not diagnosis.failed
    assert "some value" not in practice.text + json.dumps(practice.report)


async def test_the_report_has_the_shapes_of_all_answers_and_no_values(practise):
    practice = practise()
    await practice.examine(write=True)

    answers = {one["operation"]: one for one in practice.report["answers"] if one["operation"]}
    assert answers["list-clients"]["rows"] >= 1
    assert answers["list-clients"]["shape"][0]["scopes"] == ["string"]
    assert answers["list-clients"]["shape"][0]["jwks"] == {"keys": [{**dict.fromkeys(KEY_MEMBERS, "string")} | EXP]}
    assert answers["list-own-scopes"]["query"] == ["inactive"]
    assert answers["create-client"]["status"] == 201
    text = json.dumps(practice.report["answers"])
    assert "889640782" not in text
    assert "skatt:" not in text


KEY_MEMBERS = ("kty", "use", "alg", "kid", "n", "e", "created", "last_updated")
EXP = {"exp": "integer"}


# Writing

STEPS = {
    "register": {"method": "POST", "path": "/clients$", "skip": 1},
    "update": {"method": "PUT", "path": "/clients/"},
    "read": {"method": "GET", "path": "/clients/[^/]*$", "skip": 1},
    "delete no keys": {"method": "DELETE", "path": "/jwks$"},
    "give a key": {"method": "POST", "path": "/jwks$"},
    "token": {"path": "^/token$", "skip": 4},
    "delete keys": {"method": "DELETE", "path": "/jwks$", "skip": 1},
    "delete": {"method": "DELETE", "path": "/clients/[^/]*$"},
}
FAULTS = {
    "503": {"kind": "status", "status": 503},
    "409": {"kind": "status", "status": 409},
    "page": {"kind": "html"},
    "lost request": {"kind": "drop"},
    "lost answer": {"kind": "drop", "when": "after"},
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("manner", [STRICT, LAX, ODD], ids=["strict", "lax", "odd"])
async def test_whatever_fails_once_nothing_active_is_left_behind(practise, step, fault, manner):
    practice = practise(**manner, list_lag_seconds=5)
    step = dict(step)
    if manner is LAX and step["path"] == "/clients$":
        step.pop("skip")  # it takes a client without scopes
    one = practice.fault(**step, **fault)
    await practice.examine(write=True)

    assert one.struck == 1
    assert practice.active_trials == []


@pytest.mark.parametrize("manner", [STRICT, LAX, ODD], ids=["strict", "lax", "odd"])
async def test_what_couldnt_be_deleted_is_told_and_deleted_by_the_next_run(practise, manner):
    practice = practise(**manner)
    practice.fault("status", status=503, method="DELETE", path="/clients/[^/]*$", times=None)
    diagnosis = await practice.examine(write=True)

    (left,) = practice.active_trials
    assert diagnosis.failed
    assert practice.find("delete it").message.startswith(f"client {left} is still active: ")
    assert "Run again with --write" in practice.find("delete it").remedy

    practice.simulator.faults.clear()
    await practice.sleep(MAX_RUN_SECONDS + 1)
    diagnosis = await practice.examine()
    assert practice.find("rest of an earlier run").state == "warning"
    assert left in practice.find("rest of an earlier run").message
    assert practice.active_trials == [left]
    assert not diagnosis.failed

    diagnosis = await practice.examine(write=True)
    assert practice.find("rest of an earlier run").state == "passed"
    assert practice.active_trials == []
    assert not diagnosis.failed


async def begin_run(practice):
    """Begin a run, which has made its client and waits."""
    practice.fault("delay", delay_ms=60_000, method="POST", path="/jwks$")
    run = asyncio.create_task(practice.examine(write=True))
    async with asyncio.timeout(5):
        while not practice.active_trials or not practice.simulator.ledger.summary(operation="replace-keys")["total"]:
            await asyncio.sleep(0)
    return run


@pytest.mark.parametrize("write", [False, True])
async def test_two_runs_at_once_leave_each_other_alone(practise, write):
    practice = practise()
    run = await begin_run(practice)
    (used,) = practice.active_trials
    await practice.sleep(MAX_RUN_SECONDS - 60)

    diagnosis = await practice.examine(write=write)

    assert practice.active_trials == [used]
    assert practice.find("client of another run").state == "warning"
    assert used in practice.find("client of another run").message
    assert not diagnosis.failed
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert practice.active_trials == []


async def test_what_another_clusters_run_left_is_told_and_left_alone(practise):
    practice = practise()
    practice.fault("status", status=503, method="DELETE", path="/clients/[^/]*$", times=None)
    await practice.examine(write=True, cluster_name="other-cluster")
    practice.simulator.faults.clear()
    left = practice.active_trials

    await practice.examine(write=True)

    assert practice.find("rest of another cluster").state == "warning"
    assert "of cluster other-cluster" in practice.find("rest of another cluster").message
    assert practice.active_trials == left


async def test_a_run_that_is_interrupted_deletes_its_client(practise):
    practice = practise()
    run = await begin_run(practice)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run

    assert practice.active_trials == []


@pytest.mark.parametrize("delay", [30, 120])
async def test_a_token_is_awaited_as_long_as_maskinporten_may_take_to_know_the_client(practise, delay):
    practice = practise(propagation_delay_seconds=delay)
    await practice.examine(write=True)

    assert practice.states("failed") == []
    assert f"{delay} s after its key was taken" in practice.find("token for it").message
    assert practice.noted


def claims_of(request):
    assertion = dict(httpx.QueryParams(request.content.decode()))["assertion"]
    return base64.urlsafe_b64decode(assertion.split(".")[1] + "==")


async def test_a_token_that_never_comes_is_told_and_the_client_deleted(practise):
    practice = practise()
    practice.network.instead["/token"] = lambda request, response: (
        response if b"admin-client" in claims_of(request) else as_json({"error": "invalid_grant"}, 400)
    )
    await practice.examine(write=True)

    assert practice.states("failed") == ["token for it"]
    assert "after 150 s (HTTP 400: invalid_grant)" in practice.find("token for it").message
    assert practice.active_trials == []


async def test_without_a_scope_that_may_be_registered_the_setting_is_named(practise):
    practice = practise(**STRICT)
    practice.fault("status", status=400, body={"error": "no"}, method="POST", path="/clients$", times=None)
    await practice.examine(write=True)

    assert practice.states("failed") == ["register a client"]
    assert "A cluster admin must set DEFAULT_CLIENT_SCOPE" in practice.text


# Secrets

TELLING = {
    "all is well": lambda _: None,
    "an error that quotes the assertion": lambda practice: practice.quote("/token", 400),
    "an error that quotes the token": lambda practice: practice.quote("/clients", 403),
    "an answer that has the token in it": lambda practice: practice.quote("/clients", 200),
    "a member that is named so": lambda practice: practice.quote("/scopes", 200),
}


@pytest.mark.parametrize("happening", TELLING.values(), ids=TELLING)
@pytest.mark.parametrize("style", ["json", "text"])
async def test_no_secret_is_in_report_text_or_log(practise, admin_jwk, happening, style):
    practice, stream = practise(), io.StringIO()
    happening(practice)
    root = logging.getLogger()
    before = root.handlers, root.level
    configure_logs("DEBUG", style)
    root.handlers[0].setStream(stream)
    try:
        diagnosis = await practice.examine(write=True)
    finally:
        root.handlers, root.level = before
        structlog.reset_defaults()

    secrets = practice.network.secrets | {admin_jwk[name] for name in ("d", "p", "q", "dp", "dq", "qi")}
    assert len(practice.network.secrets) > 1
    whole = "\n".join((practice.text, json.dumps(practice.report), stream.getvalue(), repr(diagnosis), *practice.noted))
    parts = {part for one in secrets for part in one.split(".") if len(part) > 30}
    assert parts
    assert [part for part in parts if part in whole] == []


# Whose the client is


def test_the_description_of_its_client_is_no_resources_mark():
    description = build_trial_description("some-cluster", "f" * 16, 1_760_000_000.0)

    assert not is_ownership(description, "some-cluster")
    with pytest.raises(ValidationError):  # no cluster has a name with which it could be
        OperatorConfig(cluster_name=description.partition(":")[0])
