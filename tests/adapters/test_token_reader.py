"""`maskinporten-operator token`: what it tells of a token and of each refusal, by what the workload's Secret holds."""

import asyncio
import json
import re
from base64 import b64encode
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from email.utils import formatdate

import click
import httpx
import pytest
from click.testing import CliRunner

from digdir_simulator.in_process import InProcessTransport
from maskinporten_operator.adapters.cluster.status_errors import AbsentError, translate_status
from maskinporten_operator.adapters.digdir.exchanges import Recorder
from maskinporten_operator.adapters.digdir.http import open_http
from maskinporten_operator.assembly import token_reader
from maskinporten_operator.assembly.token_reader import NoCredentialsError, TokenReader, Wishes
from maskinporten_operator.cli import main
from maskinporten_operator.cli.token import render, render_json
from maskinporten_operator.model.errors import OperatorError
from maskinporten_operator.model.jwk import PrivateJwk
from maskinporten_operator.plan.secret import build_secret
from tests.adapters.conftest import URL, fields
from tests.e2e.canaries import Canaries
from tests.unit.fakes import (
    NAME,
    NAMESPACE,
    OTHER_SCOPE,
    SCOPE,
    SECRET,
    SERVER,
    as_read,
    resource,
    resource_body,
)

FORBIDDEN = translate_status({"code": 403, "message": "forbidden"})
SKATT = "974761076"
NOT_READY = {
    "type": "Ready",
    "status": "False",
    "reason": "ScopesNotGranted",
    "message": f"Not granted, and left out: {OTHER_SCOPE}",
}


class Api:
    """An API server that has these objects, by their paths; one that is an error is raised."""

    def __init__(self, client, secret):
        names = {f"maskinportenclients/{NAME}": client, f"secrets/{SECRET}": secret}
        self._found = {f"namespaces/{NAMESPACE}/{name}": one for name, one in names.items()}

    async def request(self, method, path, *_):
        assert method == "GET"
        found = next((one for name, one in self._found.items() if path.endswith(name)), None)
        if isinstance(found, Exception):
            raise found
        if found is None:
            raise AbsentError("not found")
        return found


class Telling(httpx.AsyncBaseTransport):
    """The simulator, which tells the time as any server does."""

    def __init__(self, digdir):
        self._digdir = digdir
        self._inner = InProcessTransport(digdir.app)

    async def handle_async_request(self, request):
        response = await self._inner.handle_async_request(request)
        response.headers["Date"] = formatdate(self._digdir.wall.now, usegmt=True)
        return response


class Workload:
    """A client at DigDir whose credentials are in a Secret, and the command that tries them."""

    def __init__(self, digdir, registration, key):
        self.digdir = digdir
        self.registration = registration
        self.key = key
        self.status = {"keyIDs": [key.kid], "conditions": []}
        self.scopes = (SCOPE,)
        self.spec = {"secretName": SECRET}
        self.changes = {}
        self.objects = {}
        self.lead = 0
        """Seconds by which this machine's clock is ahead of DigDir's."""

    def build_secret(self):
        secret = build_secret(
            resource().meta,
            SECRET,
            client_id=self.registration.client_id,
            jwk=self.key,
            scopes=self.scopes,
            server=SERVER,
        )
        manifest = as_read(secret).manifest
        changed = {name: value and b64encode(value.encode()).decode() for name, value in self.changes.items()}
        return {**manifest, "data": manifest["data"] | changed}

    @asynccontextmanager
    async def reader(self):
        objects = {"client": resource_body(status=self.status, spec=self.spec), "secret": self.build_secret()}

        def now():
            return self.digdir.wall.now + self.lead

        recorder, transport = Recorder(now), Telling(self.digdir)
        async with open_http(None, connections=1, observe=recorder.record, transport=transport) as http:
            yield TokenReader(Api(**objects | self.objects), http, recorder, now)

    async def ask(self, *scopes, **wishes):
        async with self.reader() as reader:
            return await reader.ask(NAMESPACE, NAME, Wishes(scopes, **wishes))

    async def refused(self, *scopes, **wishes):
        report, token = await self.ask(*scopes, **wishes)
        assert (report.issued, token, report.scopes, dict(report.claims)) == (False, "", (), {})
        return report.refusal

    async def update(self, *scopes):
        await self.digdir.client.update_client(self.registration.client_id, fields(scopes=list(scopes)))
        self.scopes = scopes


@pytest.fixture(scope="module")
def keys(jwks):
    return [PrivateJwk.find(json.dumps(jwk)) for jwk in jwks]


@pytest.fixture
async def workload(digdir, keys):
    digdir.seed(SCOPE, owner_orgno=SKATT, accessible_for_all=True)
    registration = await digdir.client.create_client(fields(scopes=[SCOPE]))
    await digdir.client.replace_keys(registration.client_id, [keys[0].public()])
    return Workload(digdir, registration, keys[0])


def show(report):
    return click.unstyle(render(report, datetime.now(UTC)))


# A token


async def test_it_asks_as_the_workload_would_and_tells_what_is_in_the_token(workload):
    report, token = await workload.ask()

    assert (report.issued, report.refusal, report.clock) == (True, None, None)
    assert (report.asked, report.scopes) == ((SCOPE,), (SCOPE,))
    assert report.client_id == report.claims["client_id"] == workload.registration.client_id
    assert report.key_id == workload.key.kid
    assert (report.issuer, report.token_endpoint) == (f"{URL}/", f"{URL}/token")
    assert report.organisation == report.claims["consumer"]["ID"].removeprefix("0192:")
    assert report.expires.timestamp() == report.claims["exp"]
    assert token.count(".") == 2


async def test_a_part_of_the_scopes_and_a_resource_can_be_asked_for(workload):
    workload.digdir.seed(OTHER_SCOPE, owner_orgno=SKATT, accessible_for_all=True)
    await workload.update(SCOPE, OTHER_SCOPE)
    one, _ = await workload.ask(OTHER_SCOPE, resource=("https://api.example",))
    two, _ = await workload.ask(resource=("https://a.example", "https://b.example"))

    assert (one.scopes, one.claims["aud"]) == ((OTHER_SCOPE,), "https://api.example")
    assert (two.scopes, two.claims["aud"]) == ((SCOPE, OTHER_SCOPE), ["https://a.example", "https://b.example"])


async def test_people_are_told_it_in_lines(workload):
    report, _ = await workload.ask()
    lines = show(report).splitlines()

    assert lines[:2] == [f"MaskinportenClient {NAMESPACE}/{NAME}, with Secret {SECRET}", f"  ✓ {URL}/ issued a token"]
    assert f"  Key         {workload.key.kid}" in lines
    assert f"  Scopes      ✓ {SCOPE}" in lines
    assert any(line.startswith("  Ends        20") for line in lines)
    assert f"  Claims      client_amr: {report.claims['client_amr']}" in lines


async def test_nothing_that_it_tells_is_secret(workload):
    texts = []
    for wishes in ({}, {"consumer": "123456789"}):
        report, token = await workload.ask(**wishes)
        texts += [render_json(report), show(report), repr(report)]
        canaries = Canaries()
        canaries.add_jwk(json.loads(workload.key.serialize()))
        if token:
            canaries.add_token("the token", token)
        assert [find for text in texts for find in canaries.find(text)] == []


async def test_programs_get_it_as_json(workload):
    report, _ = await workload.ask()
    document = json.loads(render_json(report))

    assert document.keys() == asdict(report).keys()
    assert document["expires"] == report.expires.isoformat()


# A refusal


async def test_a_key_that_maskinporten_doesnt_know_yet_is_told_from_one_that_isnt_registered(workload, keys):
    workload.key = keys[1]
    workload.status["keyIDs"] = [keys[1].kid]
    early = await workload.refused()
    workload.status["keyIDs"] = [keys[0].kid]
    gone = await workload.refused()

    assert (early.error, early.code) == ("invalid_grant", "")
    assert early.meaning == f"Key {keys[1].kid} is registered, and not known to Maskinporten so far"
    assert early.remedy.startswith("Time: ")
    assert gone.meaning.startswith(f"Key {keys[1].kid} isn't registered on client")
    assert gone.remedy.startswith("You: annotate the MaskinportenClient with digdir.nais.io/resync=true")


async def test_a_client_that_was_deleted_at_digdir_is_named(workload):
    await workload.digdir.client.delete_client(workload.registration.client_id)
    refusal = await workload.refused()

    assert refusal.code == "MP-100"
    assert refusal.meaning == f"Maskinporten knows no active client {workload.registration.client_id}"


async def test_a_scope_that_isnt_granted_is_for_its_owner_to_grant(workload):
    workload.digdir.seed("ks:fiks", owner_orgno="971032146")
    workload.digdir.access("ks:fiks")
    await workload.update(SCOPE, "ks:fiks")
    workload.digdir.access("ks:fiks", state="DENIED")
    refusal = await workload.refused()

    assert (refusal.error, refusal.code) == ("forbidden", "MP-250")
    assert refusal.meaning == "Access isn't granted to the organisation: ks:fiks"
    assert refusal.remedy.startswith("Whoever owns ks: must grant access")


async def test_a_scope_that_isnt_registered_is_told_with_what_the_status_says_of_it(workload):
    plain = await workload.refused(OTHER_SCOPE)
    said = f"Not granted, and left out: {OTHER_SCOPE}"
    workload.status["conditions"] = [{"type": "ScopesGranted", "status": "False", "message": said}]
    left_out = await workload.refused(OTHER_SCOPE)

    assert (plain.code, plain.meaning) == ("MP-200", f"Not registered on the client: {OTHER_SCOPE}")
    assert plain.remedy.startswith("You: add it to the consumed scopes")
    assert left_out.remedy.endswith(f"ScopesGranted says: {said}")


async def test_a_scope_that_was_registered_a_moment_ago_takes_time(workload):
    workload.scopes = (SCOPE, OTHER_SCOPE)
    refusal = await workload.refused()

    assert refusal.meaning == f"Registered, and not known to Maskinporten so far: {OTHER_SCOPE}"


async def test_an_inactive_scope_is_for_its_owner_to_activate(workload):
    workload.digdir.seed(OTHER_SCOPE, owner_orgno=SKATT, accessible_for_all=True)
    await workload.update(SCOPE, OTHER_SCOPE)
    state = workload.digdir.simulator.state
    state.put_scope(replace(state.scope(OTHER_SCOPE), active=False), workload.digdir.wall.now)
    refusal = await workload.refused()

    assert (refusal.code, refusal.meaning) == (
        "MP-201",
        f"Inactive, or not for clients of Maskinporten: {OTHER_SCOPE}",
    )


async def test_a_scope_that_nobody_delegated_is_for_that_organisation(workload):
    refusal = await workload.refused(consumer="971032146")

    assert refusal.code == "MP-251"
    assert refusal.meaning == f"Not delegated by organisation 971032146: {SCOPE}"


async def test_an_edited_issuer_is_named(workload):
    workload.changes = {"MASKINPORTEN_ISSUER": "https://elsewhere.example/"}
    refusal = await workload.refused()

    assert refusal.code == "MP-110"
    assert refusal.meaning.endswith("https://elsewhere.example/")


@pytest.mark.parametrize(("lead", "off"), [(60, "ahead of"), (-100, "behind")])
async def test_a_clock_that_is_wrong_is_told_with_how_much(workload, lead, off):
    workload.lead = lead
    report, _ = await workload.ask()

    assert report.refusal.meaning == "By Maskinporten's clock the request was made too early or too late"
    assert re.match(rf"this machine's is \d+ s {off} that of Maskinporten", report.clock)
    assert f"! clock: {report.clock}" in show(report)


async def test_a_resource_that_maskinporten_refuses_is_for_whoever_asks(workload):
    refusal = await workload.refused(resource=("https://api.example/#part",))

    assert (refusal.error, refusal.meaning) == (
        "invalid_target",
        "Maskinporten takes no token for https://api.example/#part",
    )


async def test_people_are_told_what_is_wrong_who_can_fix_it_and_what_was_said(workload):
    report, _ = await workload.ask("nav:other")
    lines = show(report).splitlines()

    assert lines[1] == "  ✗ Not registered on the client: nav:other"
    assert lines[2].startswith("    → You: ")
    assert lines[3].startswith("    Maskinporten says: MP-200 invalid_scope: Token request contains invalid scopes")
    assert lines[-1] == "  Asked for   nav:other"


# Nothing to ask with


async def explain(workload):
    with pytest.raises(NoCredentialsError) as raised:
        await workload.ask()
    return str(raised.value)


async def test_without_the_right_to_get_the_secret_that_right_is_named(workload):
    workload.objects = {"secret": FORBIDDEN}

    assert await explain(workload) == (
        f"you may not get secrets in namespace {NAMESPACE}: whoever administers rights there, else a cluster admin, "
        "must give you the right to get secrets (RBAC)"
    )


async def test_without_the_right_to_get_the_resource_that_right_is_named(workload):
    workload.objects = {"client": FORBIDDEN}

    assert f"you may not get maskinportenclients.nais.io in namespace {NAMESPACE}" in await explain(workload)


async def test_a_fault_of_the_api_server_is_no_lack_of_rights(workload):
    workload.objects = {"client": translate_status({"code": 500, "message": "etcd"})}

    with pytest.raises(OperatorError, match="The API server has a fault"):
        await workload.ask()


async def test_without_a_resource_of_the_name_it_says_whose_there_is_none(workload):
    workload.objects = {"client": None}

    assert f"there is no MaskinportenClient {NAME} in namespace {NAMESPACE}" in await explain(workload)


async def test_without_a_secret_it_says_how_the_resource_is(workload):
    workload.objects, workload.status = {"secret": None}, {"conditions": [NOT_READY]}
    text = await explain(workload)

    assert text.startswith(f"there is no Secret {SECRET} in namespace {NAMESPACE}. Ready is False, ScopesNotGranted: ")
    assert "→ The scope's owner" in text


async def test_a_client_without_scopes_has_nothing_to_ask_for(workload):
    workload.scopes = ()

    assert (await explain(workload)).startswith("the client has no scope that a token could be asked for")


@pytest.mark.parametrize(
    ("value", "text", "named"),
    [
        ("MASKINPORTEN_CLIENT_ID", None, "MASKINPORTEN_CLIENT_ID"),
        ("MASKINPORTEN_CLIENT_JWK", '{"kid": "x", "d": "secret"}', "MASKINPORTEN_CLIENT_JWK"),
        ("MASKINPORTEN_ISSUER", "", "MASKINPORTEN_ISSUER"),
        ("MASKINPORTEN_TOKEN_ENDPOINT", "not an address", "MASKINPORTEN_TOKEN_ENDPOINT"),
        ("MASKINPORTEN_TOKEN_ENDPOINT", "http://[::1/token", "MASKINPORTEN_TOKEN_ENDPOINT"),
    ],
)
async def test_a_value_that_the_secret_lacks_is_named_and_not_quoted(workload, value, text, named):
    workload.changes = {value: text}
    message = await explain(workload)

    assert named in message
    assert not text or text not in message


@pytest.mark.parametrize("spec", [None, "", {}, {"secretName": None}, {"secretName": 1}])
async def test_a_spec_that_names_no_secret_is_no_fault_of_ours(workload, spec):
    workload.spec = spec

    assert "names no Secret" in await explain(workload)


async def test_the_secret_of_the_status_is_taken_where_the_spec_names_none(workload):
    workload.spec, workload.status = {}, workload.status | {"synchronizationSecretName": SECRET}

    assert (await workload.ask())[0].issued


# The command


@pytest.fixture
def invoke(workload, monkeypatch):
    """Run the command as somebody who has that workload; by its own event loop, in a thread."""
    monkeypatch.setattr(token_reader, "open_token_reader", lambda _: workload.reader())

    async def invoke(*arguments):
        command = ["token", NAME, "-n", NAMESPACE, *arguments]
        return await asyncio.to_thread(CliRunner().invoke, main, command)

    return invoke


async def test_raw_prints_the_token_alone(invoke):
    outcome = await invoke("--raw")

    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert outcome.stdout.startswith("eyJ")
    assert outcome.stdout.count("\n") == 1


async def test_raw_prints_nothing_where_a_token_is_expected_if_there_is_none(invoke):
    outcome = await invoke("--raw", "--scope", "nav:other")

    assert (outcome.exit_code, outcome.stdout) == (1, "")
    assert "✗ Not registered on the client: nav:other" in outcome.stderr


async def test_exit_codes_tell_whether_there_is_a_token(invoke, workload):
    issued, refused = await invoke(), await invoke("-s", "nav:other", "-o", "json")
    workload.objects = {"secret": FORBIDDEN}
    without = await invoke()

    assert (issued.exit_code, refused.exit_code, without.exit_code) == (0, 1, 1)
    assert json.loads(refused.stdout)["refusal"]["code"] == "MP-200"
    assert (without.stdout, without.stderr.startswith("Error: you may not get secrets")) == ("", True)


@pytest.mark.parametrize("arguments", [(), ("app", "--raw", "-o", "json"), ("app", "--ca-bundle", "/nowhere")])
def test_wrong_usage_ends_with_2(arguments):
    assert CliRunner().invoke(main, ["token", *arguments]).exit_code == 2


def test_without_an_api_server_it_says_so_and_ends_with_2(tmp_path):
    outcome = CliRunner().invoke(main, ["token", "app"], env={"KUBECONFIG": str(tmp_path / "none")})

    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert "no API server is configured" in outcome.stderr


def test_help_teaches_with_examples():
    output = CliRunner().invoke(main, ["token", "--help"]).stdout

    assert "$ kubectl maskinporten token my-app -n my-team" in output
    assert '"Authorization: Bearer $(kubectl maskinporten token my-app --raw)"' in output
