"""Carries out a plan, step by step, in the order that `plan.decisions` explains."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.errors import BadRequestError, RejectedError, TransientError
from maskinporten_operator.model.jwk import PrivateJwk, build_kid
from maskinporten_operator.model.maskinportenclient import parse
from maskinporten_operator.model.resources import SECRET
from maskinporten_operator.plan.consumed_scopes import MAX_TRIES
from maskinporten_operator.plan.decisions import (
    SCOPE_STEPS,
    AddFinalizer,
    AdoptSecret,
    ClearAnnotations,
    CreateScope,
    DeactivateScope,
    DeleteClient,
    DeleteKeys,
    GrantAccess,
    Plan,
    PublishKeys,
    RegisterClient,
    RemoveFinalizers,
    RevokeAccess,
    Step,
    TeardownStep,
    TryScopes,
    UpdateRegistration,
    UpdateScope,
    WriteSecret,
)
from maskinporten_operator.plan.exposed_scopes import build_activation, is_owned_scope
from maskinporten_operator.plan.registration_fields import build_update, order_scopes
from maskinporten_operator.plan.rotation import find_request
from maskinporten_operator.plan.secret import ObservedSecret, build_fingerprint, build_secret, check_secret
from maskinporten_operator.plan.secret_uses import add_delivery
from maskinporten_operator.reconcile.credential_trials import begin_trial
from maskinporten_operator.reconcile.exposures import find_round
from maskinporten_operator.reconcile.memory import Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from maskinporten_operator.model.blockers import Blocker
    from maskinporten_operator.model.jwk import KeyDigest, PublicJwk
    from maskinporten_operator.model.registrations import Registration
    from maskinporten_operator.model.resources import ObjectMeta
    from maskinporten_operator.plan.client_plan import Snapshot
    from maskinporten_operator.plan.decisions import RegistrationStep, ScopeStep
    from maskinporten_operator.reconcile.memory import Round
    from maskinporten_operator.reconcile.ports import Ports, ScopeIndex
    from maskinporten_operator.reconcile.progress import ClientProgress


async def execute(plan: Plan, seen: Snapshot, progress: ClientProgress, ports: Ports) -> Blocker | None:
    """Carry out a plan, noting each effect in `progress`; give the first refusal.

    A refusal blocks only the steps that depend on it: a refused client doesn't keep scopes from being exposed, nor one
    scope the others.

    Raises:
        OperatorError: A fault, or the finalizer was refused; the next pass goes on.
    """
    return await _Execution(seen, progress, ports).run(plan)


@dataclass(slots=True)
class _Execution:
    """One plan being carried out.

    Attributes:
        jwk: The key that the Secret holds, or is about to.
        secret: The Secret as it was read, or as this plan left it.
        given_up: The kinds of steps that build on something that was refused.
        given_up_scopes: Scopes whose creation or activation was refused, or that have a fault.
        postponed: By inactive scope: what DigDir refused to revoke, and is asked again once the scope is active.
        unsure: Scopes that were left out because of a refusal that may be about others.
        refused_scopes: Consumed scopes that DigDir refused.
        refusal: The first refusal.
        fault: The one fault of a scope that the others don't share so far.
        round: The passes that this one belongs to, if there are more to come.
    """

    seen: Snapshot
    progress: ClientProgress
    ports: Ports
    jwk: PrivateJwk | KeyDigest | None = None
    secret: ObservedSecret | None = None
    given_up: set[type[Step]] = field(default_factory=set)
    given_up_scopes: set[str] = field(default_factory=set)
    postponed: defaultdict[str, list[RevokeAccess]] = field(default_factory=lambda: defaultdict(list))
    unsure: list[str] = field(default_factory=list)
    refused_scopes: set[str] = field(default_factory=set)
    refusal: Blocker | None = None
    fault: TransientError | None = None
    round: Round | None = None

    async def run(self, plan: Plan) -> Blocker | None:
        self._begin(plan)
        for step in plan.steps:
            await self._attempt(step)
        self._record_secret(plan)
        if self.fault and not plan.unfinished:
            raise self.fault
        return self.refusal

    async def _attempt(self, step: Step) -> None:
        if type(step) in self.given_up or (isinstance(step, SCOPE_STEPS) and step.scope in self.given_up_scopes):
            return
        try:
            await self._carry_out(step)
        except RejectedError as error:
            if isinstance(step, AddFinalizer):
                raise  # nothing remote is done without it
            if isinstance(step, RevokeAccess) and _is_inactive(step.scope, self.ports.digdir.scopes):
                self.postponed[step.scope].append(step)
                return
            if not _is_refused_consumer(step, error):
                self.refusal = self.refusal or error.blocker
                self._leave_out(step, error)
            self._give_up(step)
        except TransientError as error:
            if self.fault or not isinstance(step, SCOPE_STEPS):
                raise  # a second one is no scope's own
            self.fault = error
            self.given_up_scopes.add(step.scope)
            self._leave_out(step, error)

    def _leave_out(self, step: Step, error: RejectedError | TransientError) -> None:
        """Exclude a scope that can't be changed from the further passes of the round."""
        if self.round and isinstance(step, SCOPE_STEPS):
            self.round.refusals.setdefault(step.scope, error.blocker)

    def _begin(self, plan: Plan) -> None:
        memory, uid = self.ports.memory, self.seen.resource.meta.uid
        if plan.unfinished:
            self.round = find_round(self.seen.resource, memory, self.ports.clock)
            self.round.refusals |= {one.name: one.refusal for one in self.seen.exposures if one.refusal}
        self.jwk = self.seen.secret.jwk if self.seen.secret else None
        self.secret = self.seen.secret if isinstance(self.seen.secret, ObservedSecret) else None
        if self.jwk and self.jwk == memory.pending_key(uid):
            memory.record_delivery(uid)  # it was written, and the answer to that was lost
        self.progress.registration = self.seen.registration

    async def _carry_out(self, step: Step) -> None:
        match step:
            case AddFinalizer():
                self.progress.resource = parse(await self.ports.cluster.add_finalizer(self.progress.resource.meta))
                self.progress.wrote = True
            case AdoptSecret():
                await self._adopt_secret()
            case RegisterClient():
                await self._register(step)
            case UpdateRegistration():
                await self._update(step)
            case PublishKeys():
                await self._publish(step)
            case WriteSecret():
                await self._write_secret(step)
            case TryScopes():
                if await self._try_scopes(step.names, step.fields) and self.secret:
                    await self._write_secret(WriteSecret("DigDir took a scope that was tried"))
            case ClearAnnotations():
                body = await self.ports.cluster.clear_annotations(self.progress.resource.meta, step.names)
                self.progress.resource = parse(body)
                self.progress.wrote = True
            case _:
                await _expose(step, self.progress, self.ports.digdir.scopes)
                for revoke in self.postponed.pop(step.scope, ()):
                    await self._attempt(revoke)

    def _give_up(self, step: Step) -> None:
        """Skip the steps that depend on one that was refused."""
        match step:
            case AdoptSecret() | RegisterClient() | PublishKeys():
                self.given_up |= {PublishKeys, WriteSecret, TryScopes, ClearAnnotations}
            case WriteSecret():
                self.given_up |= {WriteSecret, ClearAnnotations}
            case CreateScope() | UpdateScope(activates=True):
                self.given_up_scopes.add(step.scope)

    async def _adopt_secret(self) -> None:
        assert self.secret
        meta = self.progress.resource.meta
        self.ports.known.children.forget_secret(meta.namespace, self.seen.spec.secret_name)
        self.secret = ObservedSecret(await self.ports.cluster.adopt(SECRET, self.secret.manifest, meta))
        self.progress.note(f"took back Secret {self.seen.spec.secret_name}, which had lost its owner")

    async def _register(self, step: RegisterClient) -> None:
        registration = await self._send_scopes(step, self.ports.digdir.registrations.register)
        if registration is None:
            self.given_up |= {PublishKeys, WriteSecret, TryScopes}
            return
        self.progress.registration = registration
        self.progress.note(f"registered client {registration.client_id}")
        await self._try_scopes(self.unsure, step.fields)

    async def _update(self, step: UpdateRegistration) -> None:
        before = self.progress.registration
        assert before

        async def send(fields: Mapping[str, Any]) -> Registration:
            if step.only_scopes and set(fields["scopes"]) == set(before.scopes):
                return before  # what is left to send is there already
            return await self.ports.digdir.registrations.update(before, fields)

        registration = await self._send_scopes(step, send)
        assert registration
        if registration is not before:
            self.progress.registration = registration
            self.progress.note(f"updated client {step.client_id} ({step.reason})")
        await self._try_scopes(self.unsure, step.fields)

    async def _send_scopes(
        self, step: RegistrationStep, send: Callable[[Mapping[str, Any]], Awaitable[Registration]]
    ) -> Registration | None:
        """Send a registration with the most scopes that DigDir takes; None if it was merely tried and takes none.

        What it refuses together with one scope more than it takes, it refuses for that scope.

        Raises:
            RejectedError: It refuses all of it, or for another reason than what is in it.
        """
        refusals: list[tuple[tuple[str, ...], BadRequestError]] = []
        registration, taken = None, tuple[str, ...]()
        for scopes in (tuple(step.fields["scopes"]), *step.fallbacks):
            try:
                registration = await send({**step.fields, "scopes": list(scopes)})
            except BadRequestError as error:
                self.ports.digdir.grants.expire()
                refusals.append((scopes, error))
            else:
                taken = scopes
                break
        if refusals and registration is None and not (isinstance(step, RegisterClient) and step.tentative):
            raise refusals[0][1]
        self.progress.tries += len(refusals)
        for scopes, refusal in refusals:
            if len(more := set(scopes) - set(taken)) == 1:
                self._record_refusal(more.pop(), refusal)
        left_out = (name for name in step.fields["scopes"] if name not in taken)
        self.unsure = [name for name in left_out if name not in self.refused_scopes]
        return registration

    async def _try_scopes(self, names: Sequence[str], fields: Mapping[str, Any]) -> bool:
        """Add scopes to the client one by one, as many as a pass may try; say whether DigDir took any."""
        took_any = False
        for name in names:
            registration = self.progress.registration
            assert registration
            if name in registration.scopes or name in self.refused_scopes:
                continue
            if self.progress.tries >= MAX_TRIES:
                break
            self.progress.tries += 1
            self.ports.memory.record_try(self.seen.resource.meta.uid)
            wanted = [one for one in self.seen.spec.consumed_scopes if one == name or one in registration.scopes]
            request = build_update(registration, {**fields, "scopes": wanted})
            try:
                self.progress.registration = await self.ports.digdir.registrations.update(registration, request)
            except BadRequestError as error:
                self._record_refusal(name, error)
                continue
            took_any = True
            self.progress.note(f"updated client {registration.client_id} (DigDir takes {name})")
        return took_any

    def _record_refusal(self, scope: str, error: BadRequestError) -> None:
        is_listed = scope in self.seen.granted.certain
        meta, now = self.seen.resource.meta, self.ports.clock.monotonic()
        self.refused_scopes.add(scope)
        self.ports.memory.record_refusal(meta.uid, scope, Refusal(error.words, meta.generation, is_listed, now))

    async def _publish(self, step: PublishKeys) -> None:
        assert self.progress.registration
        keys = list(step.keep)
        new: PrivateJwk | None = None
        if step.mint:
            new = await _mint(self.seen.resource.meta, self.progress.registration.client_id, self.ports)
            self.jwk = new if step.delivers else self.jwk
            # Left over from a pass that failed after it was published; it must not be in the set twice.
            keys = [new.public(), *(key for key in keys if key.kid != new.kid)]
            if _are_published(keys, new, self.progress.registration):
                return
        try:
            published = await self.ports.digdir.registrations.publish_keys(self.progress.registration, keys)
        except BadRequestError:
            if not step.expired:
                raise
            left = [key for key in keys if key.kid not in step.expired]
            published = await self.ports.digdir.registrations.publish_keys(self.progress.registration, left)
            expired = ", ".join(step.expired)
            self.progress.note(f"left out keys that expired and that DigDir takes no more: {expired}", "KeysExpired")
        self.progress.registration = published
        what = f"published key {new.kid}" if new else "published the keys anew"
        self.progress.note(f"{what} ({step.reason})")
        if new and self.ports.settings.verifies:
            begin_trial(self.seen, published, new, self.ports, waits=not step.delivers)

    async def _write_secret(self, step: WriteSecret) -> None:
        registration, secret, meta = self.progress.registration, self.secret, self.progress.resource.meta
        assert registration
        assert isinstance(self.jwk, PrivateJwk)
        deliveries = secret.deliveries if secret else None
        if not (secret and secret.jwk and secret.jwk.kid == self.jwk.kid):
            registered = [key.kid for key in registration.keys or ()]
            deliveries = add_delivery(deliveries, self.jwk.kid, self.ports.clock.now(), registered)
        manifest = build_secret(
            meta,
            self.seen.spec.secret_name,
            client_id=registration.client_id,
            jwk=self.jwk,
            scopes=order_scopes(registration.scopes, self.seen.spec.consumed_scopes),
            server=self.seen.server,
            deliveries=deliveries,
        )
        if secret and not check_secret(secret, manifest):
            return  # what was to change the registration was refused, or isn't in the Secret
        self.ports.known.children.forget_secret(meta.namespace, self.seen.spec.secret_name)
        self.secret = ObservedSecret(await self.ports.cluster.apply(SECRET, manifest, secret.uid if secret else None))
        self.ports.memory.record_delivery(meta.uid)
        self.progress.note(f"wrote Secret {self.seen.spec.secret_name} ({step.reason})")

    def _record_secret(self, plan: Plan) -> None:
        """Record which Secret has the credentials, and its fingerprint unless it may lag behind the registration."""
        registration = self.progress.registration
        if not (registration and self.jwk) or WriteSecret in self.given_up:
            return
        self.progress.secret_name = self.seen.spec.secret_name
        self.progress.key = self.jwk
        if not plan.credentials_blocked:
            self.progress.fingerprint = _build_fingerprint(registration, self.jwk, self.seen)


def _build_fingerprint(registration: Registration, jwk: PrivateJwk | KeyDigest, seen: Snapshot) -> str:
    scopes = order_scopes(registration.scopes, seen.spec.consumed_scopes)
    return build_fingerprint(registration.client_id, jwk.kid, scopes, seen.server)


async def _mint(meta: ObjectMeta, client_id: str, ports: Ports) -> PrivateJwk:
    if pending := ports.memory.pending_key(meta.uid):
        return pending
    kid = build_kid(meta.uid, ports.random.hex(16), find_request(meta))
    jwk = PrivateJwk(kid, await ports.key_pool.take(meta.namespace))
    ports.memory.record_mint(meta.uid, client_id, jwk, ports.clock.monotonic())
    return jwk


def _are_published(keys: Sequence[PublicJwk], jwk: PrivateJwk, registration: Registration) -> bool:
    """Whether an earlier pass, whose Secret couldn't be written, published just these keys."""
    known = {key.kid: key for key in registration.keys or ()}
    return (
        known.keys() == {key.kid for key in keys}
        and known[jwk.kid].matches(jwk)
        and all(key.kid == jwk.kid or key.expires == known[key.kid].expires for key in keys)
    )


async def execute_teardown(steps: Iterable[TeardownStep], progress: ClientProgress, ports: Ports) -> None:
    """Carry out the steps of a deletion, noting each effect in `progress`.

    Raises:
        OperatorError: A step failed: none that follows was carried out, so the finalizer stays.
    """
    await _Teardown(progress, ports).run(steps)


@dataclass(slots=True)
class _Teardown:
    """A resource being deleted.

    Attributes:
        owned: By scope: whether it still was the resource's when it was first to be written to.
        activated: The inactive scope that is active for as long as access to it is being revoked.
    """

    progress: ClientProgress
    ports: Ports
    owned: dict[str, bool] = field(default_factory=dict)
    activated: str | None = None

    async def run(self, steps: Iterable[TeardownStep]) -> None:
        try:
            for step in steps:
                if not isinstance(step, SCOPE_STEPS) or await self._owns(step.scope):
                    await self._carry_out(step)
        except RejectedError:
            if self.activated:
                await self.ports.digdir.scopes.deactivate(
                    self.activated
                )  # while the deletion waits it gives no tokens again
            raise

    async def _owns(self, name: str) -> bool:
        """Read a scope again before it is first written to: somebody may have taken it over since it was listed."""
        if name not in self.owned:
            scope, settings = await self.ports.digdir.scopes.read(name), self.ports.settings
            ownership = settings.build_ownership(self.progress.resource.meta)
            self.owned[name] = is_owned_scope(scope, ownership, settings.cluster)
        return self.owned[name]

    async def _carry_out(self, step: TeardownStep) -> None:
        match step:
            case RevokeAccess():
                await self._revoke(step)
            case DeactivateScope(scope):
                self.activated = None
                if not _is_inactive(scope, self.ports.digdir.scopes):
                    await _expose(step, self.progress, self.ports.digdir.scopes)
            case DeleteKeys(client_id):
                await self.ports.digdir.registrations.delete_keys(client_id)
            case DeleteClient(client_id):
                await self.ports.digdir.registrations.delete(client_id)
                self.progress.note(f"deleted client {client_id} for good", "ClientDeleted")
            case RemoveFinalizers(names):
                await self.ports.cluster.remove_finalizers(self.progress.resource.meta, names)

    async def _revoke(self, step: RevokeAccess) -> None:
        """Revoke access; where DigDir refuses that for an inactive scope, it is active until the access is gone."""
        try:
            await _expose(step, self.progress, self.ports.digdir.scopes)
        except RejectedError:
            scope = self.ports.digdir.scopes.find(step.scope)
            if scope is None or scope.active:
                raise
            await self.ports.digdir.scopes.update(step.scope, build_activation(scope))
            self.activated = step.scope
            await _expose(step, self.progress, self.ports.digdir.scopes)


def _is_inactive(name: str, scopes: ScopeIndex) -> bool:
    scope = scopes.find(name)
    return scope is not None and not scope.active


async def _expose(step: ScopeStep, progress: ClientProgress, scopes: ScopeIndex) -> None:
    match step:
        case CreateScope(scope, fields):
            await scopes.create(scope, fields)
            progress.note(f"created {scope}", "ScopeCreated")
        case UpdateScope(scope, fields, reason, activates):
            await scopes.update(scope, fields)
            if activates:
                progress.note(f"activated {scope}", "ScopeActivated")
            else:
                progress.note(f"updated {scope} ({reason})", "ScopeUpdated")
        case DeactivateScope(scope, reason):
            await scopes.deactivate(scope)
            progress.note(f"deactivated {scope} ({reason})" if reason else f"deactivated {scope}", "ScopeDeactivated")
        case GrantAccess(scope, orgno):
            await scopes.grant(scope, orgno)
            progress.note(f"granted {scope} to {orgno}", "AccessGranted")
        case RevokeAccess(scope, orgno):
            await scopes.revoke(scope, orgno)
            progress.note(f"revoked {scope} from {orgno}", "AccessRevoked")


def _is_refused_consumer(step: Step, error: RejectedError) -> bool:
    """Whether DigDir refuses one consumer, which the condition `ConsumersValid` reports; the others aren't affected."""
    return isinstance(step, GrantAccess) and isinstance(error, BadRequestError)
