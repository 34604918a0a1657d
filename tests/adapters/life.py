"""One resource's whole life, which takes milliseconds: it can be lived in every manner that DigDir may have."""

from dataclasses import replace
from datetime import timedelta

from digdir_simulator.state import Key
from tests.unit import fakes
from tests.unit.world import Digdir, World


class LiveWorld(World):
    """A resource, and DigDir with what it knows by default, in one of its manners."""

    def __init__(self, settings=fakes.SETTINGS, **manner):
        super().__init__(settings, Digdir(fakes.FakeClock(), seed={}, **manner))

    # What happens on the cluster

    def create(self, **changes):
        """Somebody makes the resource, another one than before."""
        body = fakes.resource_body(**changes)
        body["metadata"]["uid"] = f"{self.clock.monotonic()}"
        self.cluster.resource = body
        self.cluster.touch()
        self.see()

    async def delete(self, **annotations):
        """Somebody deletes the resource; its Secret goes with it."""
        self.cluster.annotate(**annotations)
        self.cluster.touch(deletionTimestamp="2026-03-01T00:00:00Z")
        for _ in range(10):
            outcome = await self.reconcile()
            if self.cluster.resource is None:
                self.cluster.secrets.clear()
                return
            assert outcome.retry, outcome
            self.clock.advance((outcome.retry.delay or 1.0) + 0.1)
        raise AssertionError(f"not deleted: {self.cluster.resource['status']} {self.announcer.announced[-3:]}")

    async def settle(self, most=20):
        """Let passes follow one another until one has nothing left to do."""
        return await super().settle(most)

    async def later(self, **passed):
        """Let time pass, have the lists read anew as a resync does, and settle."""
        self.clock.advance(timedelta(**passed).total_seconds())
        await self.registrations.refresh()
        await self.scopes.refresh()
        return await self.settle()

    # What is at DigDir

    @property
    def clients(self):
        """The clients with the resource's description as DigDir keeps them, the oldest first."""
        found = [one.current for one in self.digdir.state.clients.values()]
        return [one for one in found if one.fields["description"] == fakes.DESCRIPTION]

    @property
    def client(self):
        """The one that is active."""
        (found,) = [one for one in self.clients if one.active]
        return found

    @property
    def kids(self):
        """The ids of its keys that haven't expired."""
        return [key.kid for key in self.client.keys if key.exp > self.digdir.now]

    def change_client(self, **changes):
        """Somebody changes the active client by hand."""
        self.digdir.state.put_client(replace(self.client, **changes), self.digdir.now)

    def expiring(self, jwk, **lives):
        """A key as DigDir keeps it, that expires after a while."""
        now = self.digdir.now
        return Key(dict(jwk), int(now + timedelta(**lives).total_seconds()), now, now)

    def scope(self, name):
        """A scope as it is now; None if there is none."""
        return self.digdir.state.scope(name)
