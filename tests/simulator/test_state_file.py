"""A simulator that is started again on the same state file. Kills are in test_process."""

import asyncio
import json
import sqlite3
from contextlib import closing

import pytest

from digdir_simulator import Config, create_app, state_file
from digdir_simulator.state_file import StateFile, StateFileError
from tests.certificates import authority
from tests.simulator.conftest import PUBLIC_URL, Digdir, public

SKATT, SUPPLIED = "974761076", "910753614"


@pytest.fixture
async def start(tmp_path, clock, admin_jwk):
    """Starts a simulator on the state file, after the end of the one before."""
    running = []

    async def stop():
        while running:
            digdir = running.pop()
            await digdir.http.aclose()
            await digdir.simulator.close()

    async def start(jwk=admin_jwk, **config):
        await stop()
        credentials = {} if "trusted_certificates" in config else {"admin_jwk": public(jwk)}
        whole = Config(public_url=PUBLIC_URL, state_file=tmp_path / "state", **credentials, **config)
        running.append(Digdir(create_app(whole, clock=clock), clock, jwk))
        return running[-1]

    yield start
    await stop()


async def everything(digdir):
    return await digdir.control("GET", "/state")


async def test_clients_keys_scopes_accesses_and_delegations_are_known_after_a_restart(start, clock, jwk):
    digdir = await start()
    await digdir.register(jwk)
    await digdir.create(description="deleted")
    await digdir.create_scope(**{"description#nn": "Pensjonar", "token_type": "OPAQUE", "at_max_age": 30})
    await digdir.create_scope(subscope="delegated", delegation_source="https://www.altinn.no/")
    await digdir.grant(SKATT)
    await digdir.grant(SUPPLIED)
    clock.advance(5)
    await digdir.revoke(SKATT)
    await digdir.delete_scope("nav:delegated")
    clients = (await digdir.admin("GET", "/clients")).json()
    await digdir.admin("DELETE", f"/clients/{clients[-1]['client_id']}")
    before = await everything(digdir)
    prefixes = (await digdir.http.get("/api/v1/prefix/all")).json()
    sources = (await digdir.http.get("/api/v1/delegationsources")).json()
    clients = (await digdir.admin("GET", "/clients?inactive=true")).json()
    clock.advance(50)
    digdir = await start()
    assert await everything(digdir) == before
    assert before["delegations"]
    assert (await digdir.http.get("/api/v1/prefix/all")).json() == prefixes
    assert (await digdir.http.get("/api/v1/delegationsources")).json() == sources
    assert (await digdir.admin("GET", "/clients?inactive=true")).json() == clients


async def test_a_client_gets_a_token_with_its_key_after_a_restart(start, jwk):
    client_id = await (await start()).register(jwk)
    digdir = await start()
    assert (await digdir.ask_token(client_id, jwk, "skatt:some.scope")).status_code == 200


async def test_no_lag_hides_what_the_file_had(start, jwk):
    client_id = await (await start()).register(jwk)
    digdir = await start()
    await digdir.set(list_lag_seconds=60, propagation_delay_seconds=60)
    assert client_id in [client["client_id"] for client in (await digdir.admin("GET", "/clients")).json()]
    assert (await digdir.ask_token(client_id, jwk, "skatt:some.scope")).status_code == 200


async def test_changes_made_after_a_restart_are_kept_too(start):
    await start()
    client = await (await start()).create()
    digdir = await start()
    assert (await digdir.admin("GET", f"/clients/{client['client_id']}")).json() == client


async def test_clients_keep_their_order_when_they_are_changed(start):
    digdir = await start()
    ids = [(await digdir.create())["client_id"] for _ in range(5)]
    await digdir.admin("PUT", f"/clients/{ids[1]}", json=digdir.client_request(description="changed"))
    digdir = await start()
    listed = [client["client_id"] for client in (await digdir.admin("GET", "/clients")).json()]
    assert listed[1:] == ids


async def test_the_seed_fills_an_empty_file_only(start):
    digdir = await start(seed={"generate_clients": 3, "generate_scopes": 3})
    before = await everything(digdir)
    digdir = await start(seed={"prefixes": ["nav", "two"], "generate_clients": 9})
    assert await everything(digdir) == before


async def test_what_the_control_api_does_is_kept(start, jwk):
    digdir = await start()
    await digdir.control("POST", "/clients", digdir.client_request(client_id="a", keys=[digdir.public(jwk)]))
    await digdir.control("POST", "/scopes", {"name": "nav:by.hand", "more": {"x": [1]}})
    await digdir.control("POST", "/grants", {"scope": "ks:not.granted"})
    before = await everything(digdir)
    digdir = await start()
    assert await everything(digdir) == before
    assert (await digdir.ask_token("a", jwk, "skatt:some.scope")).status_code == 200


async def test_an_imported_state_takes_the_place_of_all_that_the_file_had(start):
    digdir = await start()
    await digdir.create()
    delegation = {"scope": "skatt:delegated.scope", "consumer_orgno": SKATT, "supplier_orgno": SUPPLIED}
    await digdir.control("PUT", "/state", {"prefixes": ["nav", "arbeid"], "delegations": [delegation]})
    await digdir.create(description="made since")
    before = await everything(digdir)
    digdir = await start()
    assert await everything(digdir) == before
    assert before["delegations"] == [delegation]
    assert [client["description"] for client in before["clients"]][1:] == ["made since"]


async def test_a_reset_goes_back_to_the_seed_in_the_file_too(start):
    digdir = await start()
    await digdir.create()
    digdir = await start()
    await digdir.control("POST", "/reset")
    before = await everything(digdir)
    digdir = await start()
    assert await everything(digdir) == before
    assert len(before["clients"]) == 1


async def test_half_a_surrogate_pair_can_be_kept(start):
    digdir = await start()
    for order in (
        digdir.client_request(client_id="\ud800", description="\ud800"),
        digdir.client_request(client_id="\udfff", description="æ\udfff"),
    ):
        assert (await digdir.http.post("/control/clients", content=json.dumps(order))).status_code == 201
    digdir = await start()
    assert [*digdir.simulator.state.clients][1:] == ["\ud800", "\udfff"]


async def test_the_admin_client_gets_in_with_the_key_of_this_start(start, admin_jwk, other_jwk):
    await (await start()).create()
    digdir = await start(other_jwk)
    assert len((await digdir.admin("GET", "/clients")).json()) == 2
    digdir = await start(admin_jwk)
    assert (await digdir.admin("GET", "/clients")).status_code == 200


async def test_an_admin_client_that_the_file_does_not_have_is_added(start):
    await start()
    digdir = await start(admin_client_id="another")
    assert [*digdir.simulator.state.clients] == ["admin-client", "another"]


async def test_an_admin_key_that_is_registered_already_is_left_as_it_is(start, clock):
    before = await everything(await start())
    clock.advance(60)
    assert await everything(await start()) == before


async def test_an_admin_client_changes_from_a_key_to_a_certificate_and_back(start, admin_jwk):
    await start()
    digdir = await start(trusted_certificates=authority().chain_pem)
    assert digdir.simulator.state.client("admin-client").keys == ()
    digdir = await start()
    assert (await digdir.admin("GET", "/clients")).status_code == 200


async def test_many_changes_at_once_share_few_transactions(start, monkeypatch):
    digdir = await start()
    await digdir.create_scope()
    await digdir.admin("GET", "/clients")
    transactions = []
    write = StateFile.write

    def counting(self, documents, *, anew):
        transactions.append(len(documents))
        write(self, documents, anew=anew)

    monkeypatch.setattr(StateFile, "write", counting)
    consumers = [f"{number:09}" for number in range(100)]
    answers = await asyncio.gather(*(digdir.grant(consumer) for consumer in consumers))
    assert {answer.status_code for answer in answers} == {200}
    assert sum(transactions) == 100
    assert len(transactions) <= 50
    digdir = await start()
    assert len(await digdir.accesses(scope="nav:pension")) == 100


@pytest.fixture
async def full(start):
    """A simulator whose disk is full, and what makes room on it."""
    digdir = await start()
    await digdir.create()
    connection = digdir.simulator.journal._file._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    return digdir, lambda: connection.execute("PRAGMA max_page_count = 1000000")


async def test_a_change_that_can_not_be_written_is_not_answered_as_done(full, problems, start, caplog):
    digdir, make_room = full
    request = digdir.client_request(client_id="large", redirect_uris=["x" * 50_000])
    assert "can not write" in problems(await digdir.admin("POST", "/clients", json=request), 503)[0]
    # It may be seen no more than it may be answered
    assert problems(await digdir.admin("GET", "/clients"), 503)
    response = await digdir.http.get("/control/clients")
    assert response.status_code == 503
    assert "full" in response.json()["error"]
    assert "full" in caplog.text
    make_room()
    assert len((await digdir.admin("GET", "/clients")).json()) == 3
    digdir = await start()
    assert (await digdir.admin("GET", "/clients/large")).status_code == 200


async def test_one_who_hangs_up_does_not_undo_the_change_of_another(start):
    digdir = await start()
    await digdir.admin("GET", "/clients")
    creations = [asyncio.create_task(digdir.create()) for _ in range(20)]
    while digdir.simulator.journal._writing is None or digdir.simulator.journal._writing.done():
        await asyncio.sleep(0)
    for creation in creations[::2]:
        creation.cancel()
    await asyncio.gather(*creations, return_exceptions=True)
    kept = [creation.result()["client_id"] for creation in creations[1::2]]
    digdir = await start()
    assert set(kept) <= set(digdir.simulator.state.clients)


async def test_nothing_is_written_without_a_state_file(digdir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    await digdir.create()
    assert digdir.simulator.journal is None
    assert list(tmp_path.iterdir()) == []


def other_database(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE record (kind, key, document)")


def other_version(path):
    StateFile(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 7")


def damaged(kind, document):
    def damage(path):
        file = StateFile(path)
        file.write({(kind, ""): document}, anew=False)
        file.close()

    return damage


def content(path):
    """The bytes of a file, but for SQLite's counter of transactions."""
    if path.is_dir():
        return [*path.iterdir()]
    whole = path.read_bytes()
    return whole[:24], whole[28:92], whole[96:]


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda path: path.write_text("clients: []\n" * 100), "isn't a state file"),
        (lambda path: path.mkdir(), "can't be opened"),
        (other_database, "not a state file"),
        (other_version, "another version .*form 7"),
        (damaged("client", '{"client_id": "a"}'), "is damaged"),
        (damaged("organisation", "{"), "is damaged"),
        (damaged("organisation", "[]"), "is damaged"),
    ],
)
def test_a_file_that_can_not_be_used_is_named_and_left_as_it_is(tmp_path, admin_jwk, make, complaint):
    path = tmp_path / "state"
    make(path)
    before = content(path)
    with pytest.raises(StateFileError, match=rf"(?s)/state: .*{complaint}"):
        create_app(Config(admin_jwk=public(admin_jwk), state_file=path))
    assert content(path) == before
    assert [other.name for other in tmp_path.iterdir()] == ["state"]


async def test_a_file_is_one_simulators_alone(start, tmp_path, admin_jwk, monkeypatch):
    monkeypatch.setattr(state_file, "LOCK_SECONDS", 0.01)
    await start()
    with pytest.raises(StateFileError, match="in use by another simulator"):
        create_app(Config(admin_jwk=public(admin_jwk), state_file=tmp_path / "state"))
