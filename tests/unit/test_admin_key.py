"""The operator renews its own key: by whole looks over the simulator, killed at every write."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from datetime import timedelta

import httpx
import pytest

from digdir_simulator import jws
from maskinporten_operator.adapters.digdir.auth import JwtGrantAuth
from maskinporten_operator.adapters.digdir.calls import Calls
from maskinporten_operator.adapters.digdir.client_api import ClientApi
from maskinporten_operator.adapters.digdir.credentials import AdminCredentials, JwkFile
from maskinporten_operator.adapters.digdir.metadata import MaskinportenMetadata
from maskinporten_operator.adapters.digdir.token_requests import TokenRequests
from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import ConflictError, OperatorError, StandbyError, TransientError
from maskinporten_operator.model.jwk import PublicJwk
from maskinporten_operator.plan.admin_key import RECORD, AdminKeySettings, AdminSecret, Renewal, build_admin_kid
from maskinporten_operator.plan.verification import MAX_SECONDS
from maskinporten_operator.reconcile.admin_key_pass import AdminKeyPorts, renew_admin_key
from maskinporten_operator.runtime.admin_key_renewal import RETRY_SECONDS, AdminKeyRenewal
from tests.unit.fakes import SERVER, FakeClock, FakeKeyPool, FakeRandomness, Trips, port, rsa_key
from tests.unit.world import ADMIN, RIGHTS, URL, Digdir, Tripping, admin_jwk

ENTRY = "jwk.json"
MAX_AGE, GRACE = timedelta(days=90), timedelta(hours=24)
SETTINGS = AdminKeySettings("some-cluster", MAX_AGE, GRACE)
LAG = 60.0
"""Seconds until the kubelet changes the file, and until Maskinporten knows of a key."""


class Killed(BaseException):
    """The process ends."""


class FakeStore:
    """The Secret in the API server; as others write it, too."""

    def __init__(self, trips, key):
        self.trips = trips
        self.version = 1
        self.annotations = {}
        self.set(key)

    def set(self, members):
        self.content = json.dumps(members)
        self.version += 1

    @property
    def kid(self):
        return json.loads(self.content)["kid"]

    @port
    async def read(self):
        metadata = {"name": "admin", "uid": "u", "resourceVersion": str(self.version), "annotations": self.annotations}
        metadata["creationTimestamp"] = "2020-01-01T00:00:00Z"
        return AdminSecret({"metadata": metadata, "data": {ENTRY: b64encode(self.content.encode()).decode()}}, ENTRY)

    async def write(self, secret, key, renewal):
        late = self.trips.enter("write_secret")
        if secret.manifest["metadata"]["resourceVersion"] != str(self.version):
            raise ConflictError(Reason.REFUSED_BY_CLUSTER, "it changed")
        self.annotations = {**self.annotations, RECORD: renewal.serialize()}
        self.set(json.loads(key.serialize()))
        if late:
            raise late()


class World:
    """DigDir and the Secret, which outlive each process of the operator, and the process."""

    def __init__(self, tmp_path, **settings):
        self.trips, self.clock, self.random = Trips(), FakeClock(), FakeRandomness()
        self.digdir = Digdir(self.clock, propagation_delay_seconds=LAG, **settings)
        self.clock.advance(LAG + 1)
        self.key_pool = FakeKeyPool(self.trips)
        self.store = FakeStore(self.trips, admin_jwk())
        self.file = tmp_path / "admin.jwk"
        self.mount()
        self.first = self.store.kid
        self.refused = 0
        self.start()

    def mount(self):
        """The kubelet gives the pod what the Secret holds."""
        if not self.file.exists() or self.file.read_text() != self.store.content:
            self.file.write_text(self.store.content)

    def start(self):
        """Begin a process, which remembers nothing of the one before."""
        now, monotonic = lambda: self.clock.now().timestamp(), self.clock.monotonic
        plain = httpx.AsyncClient(transport=self.digdir.transport, base_url=URL)
        metadata = MaskinportenMetadata(plain, SERVER.well_known_url, monotonic)
        self.credentials = AdminCredentials(ADMIN, JwkFile(self.file), now)
        self.auth = JwtGrantAuth(plain, metadata, self.credentials, RIGHTS, now, self.observe, monotonic)
        http = httpx.AsyncClient(transport=self.digdir.transport, base_url=URL, auth=self.auth)
        client_api = ClientApi(Calls(http, f"{URL}/api/v1/", lambda *_: None, monotonic))
        names = {"list_keys": "list_keys", "replace_keys": "replace_keys"}
        self.ports = AdminKeyPorts(
            ADMIN,
            RIGHTS,
            SETTINGS,
            lambda: self.credentials.read_kid(),  # noqa: PLW0108 - that of the process under way
            Tripping(client_api, self.trips, names),
            self.store,
            TokenRequests(plain, metadata, now).ask,
            self.key_pool,
            self.clock,
            self.random,
            self.sleep,
        )
        self.announced = []
        self.renewal = AdminKeyRenewal(lambda: renew_admin_key(self.ports), lambda *one: self.announced.append(one))

    def observe(self, status):
        self.refused += status != "200"

    async def sleep(self, seconds):
        self.clock.advance(seconds)

    async def look(self):
        self.trips.calls.clear()
        return await renew_admin_key(self.ports)

    async def live(self, duration):
        """Let a process look as often as it says, and the kubelet follow, for so long."""
        end = self.clock.passed + duration.total_seconds()
        while self.clock.passed < end:
            self.trips.calls.clear()
            seconds = await self.renewal.look()
            self.clock.advance(min(seconds, LAG))
            self.mount()
            self.clock.advance(max(seconds - LAG, 0))

    async def live_through(self, at, *, after):
        """Live from a due renewal to the end of its grace, killed at the write of that number, and started again."""
        self.trips.trip(at, Killed, after=after)
        try:
            await self.live(GRACE + timedelta(hours=3))
        except Killed:
            self.start()
        await self.live(GRACE + timedelta(hours=3))

    def age(self, days=90):
        self.clock.advance(days * 86400.0)

    @property
    def kids(self):
        return [key.kid for key in self.digdir.state.client(ADMIN).keys]

    def register(self, *keys):
        """Others register keys beside those that are there."""
        known = [PublicJwk(dict(key.document)) for key in self.digdir.state.client(ADMIN).keys]
        self.digdir.set_keys(ADMIN, [*known, *keys])


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    yield world
    assert world.digdir.violations == []
    assert world.refused == 0  # the operator's own token was never refused


def foreign(kid, number=30):
    key = rsa_key(number)
    return PublicJwk({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": key.n, "e": key.e})


async def test_a_young_key_is_left_alone(world):
    world.age(89)
    await world.look()

    assert world.trips.calls == ["list_keys", "read"]


async def test_an_old_key_is_renewed_proven_delivered_and_removed_after_the_grace(world):
    world.age()
    outcome = await world.look()

    new = outcome.renewed
    assert world.trips.calls == ["list_keys", "read", "take", "replace_keys", "read", "write_secret"]
    assert world.kids == [world.first, new]
    assert world.store.kid == new != world.first

    world.mount()
    await world.live(GRACE - timedelta(hours=2))
    assert world.kids == [world.first, new]
    await world.live(timedelta(hours=3))
    assert world.kids == [new]
    assert world.credentials.kid == new


async def test_the_secret_is_written_only_after_a_token_was_issued_by_the_new_key(world):
    world.age()
    began = world.clock.passed
    before = world.digdir.sequence
    await world.look()

    answers = [one["status"] for one in world.digdir.calls("token", since=before)]
    assert answers[-1] == 200
    assert 400 in answers  # the new key was unknown for a while
    assert world.clock.passed - began >= LAG


async def test_the_running_process_signs_with_the_new_key_as_soon_as_the_file_has_it(world):
    world.age()
    await world.look()
    assert world.credentials.read_kid() == world.first

    world.mount()
    assert world.credentials.read_kid() == world.store.kid
    world.clock.advance(3600)  # longer than a token lasts
    await world.look()
    assert world.refused == 0


async def test_a_key_that_maskinporten_doesnt_take_is_not_delivered_and_goes(world):
    world.digdir.set(propagation_delay_seconds=MAX_SECONDS * 2)
    world.age()
    with pytest.raises(TransientError, match="gives no token by the new key"):
        await world.look()
    assert world.store.kid == world.first
    assert len(world.kids) == 2

    world.digdir.set(propagation_delay_seconds=0)
    left = world.kids[1]
    await world.look()
    assert left not in world.kids
    assert world.store.kid == world.kids[1]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("write", range(3), ids=["publish", "deliver", "remove"])
async def test_killed_at_any_write_the_end_is_the_same(world, write, after):
    world.age()
    name = ("replace_keys", "write_secret", "replace_keys")[write]
    if write == 2:
        await world.look()
        world.mount()
    await world.live_through(name, after=after)

    assert world.kids == [world.store.kid]
    assert world.store.kid != world.first
    assert world.credentials.read_kid() == world.store.kid
    assert Renewal.find(world.store.annotations[RECORD]).kid == world.store.kid


async def test_a_lost_answer_to_the_secrets_write_is_found_out_by_reading(world):
    world.age()
    world.trips.trip("write_secret", lambda: TransientError(Reason.CLUSTER_UNAVAILABLE, "lost"), after=True)
    with pytest.raises(TransientError):
        await world.look()
    new = world.store.kid

    world.mount()
    await world.live(GRACE + timedelta(hours=3))
    assert world.kids == [new] == [world.store.kid]


async def test_a_process_that_no_longer_leads_writes_no_secret_and_the_next_one_removes_its_key(world):
    world.age()
    world.trips.trip("write_secret", lambda: StandbyError(Reason.CLUSTER_UNAVAILABLE, "another leads"))
    assert await world.renewal.look() == RETRY_SECONDS
    left = world.kids[1]

    world.start()
    await world.look()
    assert left not in world.kids
    assert world.renewal.problem == ""


async def test_keys_of_others_and_of_other_clusters_stay_as_they_are(world):
    theirs = foreign("theirs"), foreign(build_admin_kid("some-cluster-2", "0" * 16), 31)
    world.register(*theirs)
    world.age()
    before = [dict(key.document) for key in world.digdir.state.client(ADMIN).keys if key.kid != world.first]
    await world.look()
    world.mount()
    await world.live(GRACE + timedelta(hours=3))

    assert world.kids == [*(key.kid for key in theirs), world.store.kid]
    kept = [dict(key.document) for key in world.digdir.state.client(ADMIN).keys][:2]
    assert [one["exp"] for one in kept] == [one["exp"] for one in before]


async def test_five_keys_are_told_and_nothing_is_removed(world):
    world.register(*(foreign(f"theirs-{number}", 30 + number) for number in range(4)))
    world.age()
    outcome = await world.look()

    assert "has 5 keys, as many as DigDir keeps" in outcome.plan.problem
    assert "theirs-0, theirs-1" in outcome.plan.problem
    assert world.trips.calls == ["list_keys", "read"]


async def test_a_key_of_the_secret_that_isnt_registered_is_told_and_nothing_is_written(world):
    world.store.set(jws.new_private_jwk())
    world.age()
    outcome = await world.look()

    assert "isn't registered on the operator's client" in outcome.plan.problem
    assert world.trips.calls == ["list_keys", "read"]


async def test_a_file_that_isnt_of_the_secret_is_told_and_no_key_goes(world):
    world.age()
    await world.look()  # and the file never follows
    world.clock.advance(GRACE.total_seconds())
    outcome = await world.look()

    assert "doesn't hold key" in outcome.plan.problem
    assert "subPath" in outcome.plan.problem
    assert world.first in world.kids


async def test_a_replaced_key_that_somebody_puts_back_is_told_and_not_renewed_again_and_again(world):
    world.age()
    await world.look()
    world.store.set(admin_jwk())
    world.mount()
    await world.live(timedelta(hours=2))
    minted = len(world.key_pool.taken)

    assert "was replaced, back to the Secret" in world.renewal.problem
    await world.live(GRACE)
    assert world.kids == [world.first]  # the new one has no holder
    assert len(world.key_pool.taken) == minted == 1
    assert [reason for _, reason, _ in world.announced] == ["AdminKeyNotRenewed"]


async def test_a_key_that_the_operator_made_itself_stays_for_the_grace_too(world):
    world.age()
    await world.look()
    world.mount()
    await world.live(GRACE + timedelta(hours=2))
    second = world.store.kid
    world.age()
    third = (await world.look()).renewed

    world.mount()
    await world.live(GRACE - timedelta(hours=2))
    assert world.kids == [second, third]
    await world.live(timedelta(hours=3))
    assert world.kids == [third]


async def test_another_key_that_somebody_writes_during_the_proof_is_not_overwritten(world):
    other = jws.new_private_jwk()
    world.age()
    advance = world.clock.advance

    def advance_and_write(seconds):
        advance(seconds)
        world.store.set(other)

    world.clock.advance = advance_and_write
    with pytest.raises(TransientError, match="Somebody else wrote the operator's Secret meanwhile"):
        await world.look()

    assert json.loads(world.store.content) == other


async def test_somebody_elses_write_meanwhile_is_not_overwritten(world):
    world.age()
    write = world.store.write

    async def write_late(*arguments):
        world.store.set(admin_jwk() | {"extra": "by somebody else"})
        await write(*arguments)

    world.store.write = write_late
    with pytest.raises(OperatorError):
        await world.look()

    assert "by somebody else" in world.store.content


async def test_age_and_problems_are_told_once(world):
    world.age(10)
    world.register(foreign("x", 33))
    await world.renewal.look()
    assert world.renewal.age == pytest.approx(10 * 86400, abs=200)

    world.store.set({"kid": "half"})
    for _ in range(3):
        await world.renewal.look()
    assert [(kind, reason) for kind, reason, _ in world.announced] == [("Warning", "AdminKeyNotRenewed")]
    assert world.renewal.problem
    assert world.renewal.age is None


async def test_no_private_key_is_told(world, capfd):
    world.age()
    outcome = await world.renewal.look()
    held = json.loads(world.store.content)

    shown = repr((outcome, world.announced, world.store.annotations, await world.store.read())) + capfd.readouterr().out
    assert held["d"] not in shown


async def test_it_looks_only_once_this_process_works(world):
    begun, looked = asyncio.Event(), []

    async def sleep(seconds):
        looked.append(seconds)
        await asyncio.Event().wait()

    renewal = AdminKeyRenewal(lambda: renew_admin_key(world.ports), lambda *_: None, sleep)
    task = asyncio.create_task(renewal.run(begun))
    for _ in range(20):
        await asyncio.sleep(0)
    assert world.trips.calls == []

    begun.set()
    while not looked:
        await asyncio.sleep(0)
    task.cancel()
    assert world.trips.calls == ["list_keys", "read"]
