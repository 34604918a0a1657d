"""What the demo shows, step by step; each asserts what it says."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from tools.cluster.binaries import kubernetes_version
from tools.cluster.progress import progress
from tools.demo.stage import ROOT
from tools.demo.terminal import UnexpectedError, expect
from tools.demo.token import get_token, verify_token
from tools.follow import Following
from tools.kube import credentials, is_ready

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tools.demo.stage import Stage
    from tools.demo.terminal import Terminal

MANIFEST = ROOT / "deploy" / "examples" / "maskinportenclient.yaml"
TEAM = "my-team"
APP = "my-app"
SECRET = "my-app-maskinporten"  # noqa: S105 - its name
SCOPES = "skatt:some.scope nav:some/other/scope"
DESCRIPTION = f"demo:{TEAM}:{APP}"
PRIVATE_MEMBERS = ("d", "p", "q", "dp", "dq", "qi")
SECONDS_TO_READY = 60.0
SECONDS_TO_GO = 90.0
"""The garbage collector learns of a new kind within 30 seconds, and collects Secrets of its resources from then on."""


class Story:
    """The demo's course."""

    def __init__(self, stage: Stage, terminal: Terminal) -> None:
        """Play on `stage`, tell at `terminal`."""
        self.stage = stage
        self.terminal = terminal
        self.summary: dict[str, str] = {}

    def play(self) -> None:
        """Play all of it.

        Raises:
            UnexpectedError: Something isn't as it is told.
            Exception: Something didn't work at all.
        """
        self._set_up()
        first = self._create()
        secret = self._show_result()
        self._use(secret)
        self._recreate(first)
        self._delete_for_good(first)

    def _set_up(self) -> None:
        tell, stage = self.terminal, self.stage
        tell.step("Start Kubernetes, DigDir's stand-in and the operator")
        cluster = stage.start_cluster()
        tell.say(f"Kubernetes {kubernetes_version()} at {cluster.server}")
        installed = stage.install()
        tell.say("installed from deploy/crds and deploy/manifests:")
        tell.show(line.removesuffix(" created") for line in installed)
        simulator = stage.start_simulator()
        tell.say(f"the simulator of DigDir and Maskinporten at {simulator.url}")
        stage.start_operator()
        tell.say(f"the operator works, as its ServiceAccount; {stage.keys_ready()} keys minted ahead so far")
        stage.kube.create_namespace(TEAM)

    def _create(self) -> str:
        tell, stage = self.terminal, self.stage
        tell.step("Apply a MaskinportenClient")
        tell.show(line for line in MANIFEST.read_text().splitlines() if not line.startswith("#"))
        since = self._last_call()
        client, seconds = self._apply()
        calls = self._calls_since(since)
        tell.say("meanwhile at DigDir: " + ", ".join(f"{call} {status}" for call, status in calls))
        writes = [call for call, _ in calls if not call.startswith(("list", "read", "token"))]
        expect(writes == ["create-client", "replace-keys"], "two writes, the client and its key", writes)
        client_id = str(client["status"]["clientID"])
        registered = stage.simulator.clients(DESCRIPTION)
        expect([one["client_id"] for one in registered] == [client_id], f"one client {client_id} at DigDir", registered)
        tell.succeed(f"DigDir has exactly one client {DESCRIPTION}: {client_id}")
        self.summary["create → Ready"] = f"{seconds:.2f} s, client {client_id}, 2 writes to DigDir"
        return client_id

    def _show_result(self) -> dict[str, str]:
        tell, stage = self.terminal, self.stage
        tell.step("What came of it")
        tell.say(f"kubectl get maskinportenclient {APP} -n {TEAM}")
        tell.show(stage.cluster.kubectl("get", "maskinportenclient", APP, "-n", TEAM).splitlines())
        tell.say("its conditions:")
        status = self._read_status()
        for one in status["conditions"]:
            tell.show([f"{one['type']}={one['status']}  {one['reason']}: {one['message']}"])
        secret = self._read_secret()
        tell.say(f"Secret {SECRET}, private values cut:")
        tell.tabulate({name: _cut(name, value) for name, value in secret.items()})
        expected = str(status["clientID"])
        expect(secret["MASKINPORTEN_CLIENT_ID"] == expected, f"client id {expected}", secret["MASKINPORTEN_CLIENT_ID"])
        expect(secret["MASKINPORTEN_SCOPES"] == SCOPES, f"scopes {SCOPES!r}", secret["MASKINPORTEN_SCOPES"])
        empty = [name for name, value in secret.items() if not value]
        expect(len(secret) == 7 and not empty, "seven values, none empty", f"{len(secret)}, empty: {empty}")
        tell.succeed("the Secret holds all that an application needs, and the scopes are those of the manifest")
        return secret

    def _use(self, secret: dict[str, str]) -> None:
        tell = self.terminal
        tell.step("Get a token with exactly what is in the Secret")
        token = get_token(secret)
        tell.say(f"POST {secret['MASKINPORTEN_TOKEN_ENDPOINT']} with a signed assertion gave {token[:24]}…")
        claims = verify_token(secret, token)
        tell.succeed(f"its signature is of a key at {secret['MASKINPORTEN_JWKS_URI']}")
        tell.tabulate({name: json.dumps(value, ensure_ascii=False) for name, value in claims.items()})
        expected = secret["MASKINPORTEN_CLIENT_ID"]
        expect(claims["client_id"] == expected, f"a token of client {expected}", claims["client_id"])
        granted = set(str(claims["scope"]).split())
        expect(granted == set(SCOPES.split()), f"a token with {SCOPES}", claims["scope"])
        lifetime = claims["exp"] - claims["iat"]
        tell.succeed(f"it is this client's, holds both scopes and lasts {lifetime} s")
        self.summary["token"] = f"verified, {lifetime} s, {claims['scope']}"

    def _recreate(self, first: str) -> None:
        tell = self.terminal
        tell.step("Delete the resource: its client is kept, and comes back with it")
        since = self._last_call()
        self._delete(first_time=True)
        calls = self._calls_since(since)
        expect(not calls, "no call to DigDir for a deletion that keeps the client", calls)
        tell.succeed("DigDir wasn't called: the client is still registered")
        client, _ = self._apply()
        again = str(client["status"]["clientID"])
        expect(again == first, f"the client id {first} again", again)
        tell.succeed(f"created again, it has the same client id: {again}")
        keys = client["status"]["keyIDs"]
        tell.say(f"the key is new; the old one stays registered for 24 hours: {len(keys)} keys")
        verify_token(secret := self._read_secret(), get_token(secret))
        tell.succeed("a token with the new key is verified too")
        self.summary["delete, create again"] = f"the same client {again}"

    def _delete_for_good(self, first: str) -> None:
        tell, stage = self.terminal, self.stage
        tell.step("Delete it for good")
        tell.say(f"kubectl annotate maskinportenclient {APP} digdir.nais.io/delete=true")
        stage.cluster.kubectl("annotate", "maskinportenclient", APP, "-n", TEAM, "digdir.nais.io/delete=true")
        since = self._last_call()
        self._delete()
        calls = self._calls_since(since)
        tell.say("meanwhile at DigDir: " + ", ".join(f"{call} {status}" for call, status in calls))
        states = {one["client_id"]: one["active"] for one in stage.simulator.clients(DESCRIPTION)}
        expect(states == {first: False}, f"client {first}, inactive", states)
        tell.succeed(f"client {first} is inactive at DigDir: deleted for good")
        client, _ = self._apply()
        second = str(client["status"]["clientID"])
        expect(second != first, f"another client id than {first}", second)
        states = {one["client_id"]: one["active"] for one in stage.simulator.clients(DESCRIPTION)}
        expect(states == {first: False, second: True}, f"{first} inactive and {second} active", states)
        tell.succeed(f"created again, it has a new client id: {second}; the old one stays inactive")
        self.summary["delete for good, create again"] = f"a new client {second}"

    def _apply(self) -> tuple[Any, float]:
        """Apply the manifest and follow the resource to Ready; give it, and the seconds since it was there."""
        tell = self.terminal
        tell.say(f"kubectl apply -f {MANIFEST.relative_to(ROOT)}")
        with Following(self.stage.cluster.admin_kubeconfig, TEAM) as following:
            self.stage.cluster.kubectl("apply", "-f", MANIFEST)
            told: set[str] = set()
            created = None
            for seen, client in following.until(time.monotonic() + SECONDS_TO_READY):
                created = created or seen
                for news in _find_news(client):
                    if news not in told:
                        tell.say(f"  +{seen - created:.2f} s  {news}")
                        told.add(news)
                if is_ready(client):
                    return client, seen - created
                if any(news.startswith("Ready=False") for news in told):
                    break  # time alone doesn't mend that
        client = self.stage.kube.find_client(TEAM, APP) or {"metadata": {}}
        raise UnexpectedError(f"Ready=True within {SECONDS_TO_READY:.0f} s", "; ".join(_find_news(client)))

    def _delete(self, *, first_time: bool = False) -> None:
        tell, stage = self.terminal, self.stage
        tell.say(f"kubectl delete maskinportenclient {APP}")
        stage.cluster.kubectl("delete", "maskinportenclient", APP, "-n", TEAM, f"--timeout={SECONDS_TO_READY:.0f}s")
        slow = " (half a minute the first time: the kind is new to it)" if first_time else ""
        tell.say(f"the resource is gone; now Kubernetes' garbage collector takes its Secret{slow}")
        with progress() as line:
            if first_time:
                line.step("Waiting for the garbage collector")
            stage.cluster.kubectl(
                "wait", "--for=delete", f"secret/{SECRET}", "-n", TEAM, f"--timeout={SECONDS_TO_GO:.0f}s"
            )
        tell.say("the Secret is gone")

    def _read_status(self) -> dict[str, Any]:
        client = self.stage.kube.find_client(TEAM, APP) or {}
        expect("status" in client, f"a MaskinportenClient {APP} with a status", client)
        return dict(client["status"])

    def _read_secret(self) -> dict[str, str]:
        secret = self.stage.kube.find_secret(TEAM, SECRET)
        expect(secret, f"Secret {SECRET}", "none")
        return credentials(secret)

    def _last_call(self) -> int:
        return int(self.stage.simulator.control("GET", "ledger/summary")["last_sequence"])

    def _calls_since(self, sequence: int) -> list[tuple[str, Any]]:
        answer = self.stage.simulator.control("GET", f"ledger?since={sequence}")
        entries = answer["entries"] if isinstance(answer, dict) else answer
        return [(one["operation"], one["status"]) for one in entries]


def _find_news(client: Mapping[str, Any]) -> list[str]:
    """Say in words how far a resource has come."""
    news = ["the resource is there"]
    if client["metadata"].get("finalizers"):
        news.append("the operator's finalizer is on it: a client may be registered from now on")
    status = client.get("status") or {}
    news += [
        f"{one['type']}={one['status']}, {one['reason']}" + (f": {one['message']}" if one["status"] != "True" else "")
        for one in status.get("conditions", ())
    ]
    return news


def _cut(name: str, value: str) -> str:
    if name != "MASKINPORTEN_CLIENT_JWK":
        return value
    shown = {member: "…" if member in PRIVATE_MEMBERS else text for member, text in json.loads(value).items()}
    shown["n"] = shown["n"][:8] + "…"
    return json.dumps(shown, ensure_ascii=False)
