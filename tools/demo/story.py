"""What the demo shows, step by step; each asserts what it says."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import yaml

from tools.cluster import ControlPlaneError
from tools.cluster.binaries import kubernetes_version
from tools.demo.stage import ROOT
from tools.demo.terminal import UnexpectedError, expect
from tools.demo.token import find_refusal, get_token, new_key, verify_token
from tools.follow import Following
from tools.kube import APPLICATIONS, CLIENTS, DEPLOYMENTS, POLICIES, credentials, is_ready, wait_for
from tools.progress import progress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tools.demo.stage import Stage
    from tools.demo.terminal import Terminal

EXAMPLES = ROOT / "deploy" / "examples"
TEAM = "my-team"
APP, API = "my-app", "my-api"
SECRET = "maskinporten-my-app-49762922"  # noqa: S105 - its name
SCOPES = "skatt:some.scope nav:some/other/scope"
EXPOSED, CONSUMER = "nav:arbeid:some.scope.read", "123456789"
DESCRIPTION = f"demo:{TEAM}:{APP}"
MOUNT = "/var/run/secrets/nais.io/maskinporten"
CHILDREN = (
    "maskinportenclient/my-app",
    f"secret/{SECRET}",
    "deployment/my-app",
    "service/my-app",
    "networkpolicy/my-app",
)
MILESTONES = ("Application: Synchronized=True", "Application: Ready=True")
PRIVATE_MEMBERS = ("d", "p", "q", "dp", "dq", "qi")
SECONDS_TO_READY = 60.0
SECONDS_TO_GO = 90.0
"""The garbage collector learns of a new kind within 30 seconds, and collects what its resources own from then on."""


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
        self._show_result()
        secret = self._show_secret(first)
        self._show_wiring()
        self._use(secret)
        if self.stage.image:
            self._show_container()
        self._expose()
        self._recreate(first)
        self._delete_for_good(first)

    def _set_up(self) -> None:
        tell, stage = self.terminal, self.stage
        tell.step("Start Kubernetes, DigDir's stand-in and the operator")
        cluster = stage.start_cluster()
        tell.say(f"Kubernetes {kubernetes_version()} at {cluster.server}; {stage.pods}")
        simulator = stage.start_simulator()
        tell.say(f"the simulator of DigDir and Maskinporten at {simulator.url}")
        tell.say("open that address in a browser to see each call as it comes in")
        installed = stage.install()
        tell.say("installed by Helm from deploy/chart:")
        tell.show(installed)
        stage.start_operator()
        tell.say(f"the operator works, as its ServiceAccount; {stage.keys_ready()} keys minted ahead so far")
        stage.kube.create_namespace(TEAM)

    def _create(self) -> str:
        tell, stage = self.terminal, self.stage
        tell.step("Apply an Application that consumes an API")
        tell.show((EXAMPLES / "consume.yaml").read_text().splitlines())
        since = self._last_call()
        application, seconds = self._apply("consume.yaml", APP)
        calls = self._calls_since(since)
        tell.say("meanwhile at DigDir: " + _list_calls(calls))
        writes = [call for call, _ in calls if not call.startswith(("list", "read", "token"))]
        expect(writes == ["create-client", "replace-keys"], "two writes, the client and its key", writes)
        client_id = str(application["status"]["clientID"])
        registered = stage.simulator.clients(DESCRIPTION)
        expect([one["client_id"] for one in registered] == [client_id], f"one client {client_id} at DigDir", registered)
        tell.succeed(f"DigDir has exactly one client {DESCRIPTION}: {client_id}")
        self.summary["apply → Synchronized, Ready"] = f"{seconds}, client {client_id}, 2 writes to DigDir"
        return client_id

    def _show_result(self) -> None:
        tell = self.terminal
        tell.step("What it became")
        self._get("applications.nais.io,maskinportenclients.nais.io,deployment,service,networkpolicy,secret")
        tell.say("the Application's conditions:")
        application = self._read(APPLICATIONS, APP)
        tell.show(
            f"{one['type']}={one['status']}  {one['reason']}: {one['message']}"
            for one in application["status"]["conditions"]
        )
        owned = [self._read(collection, APP) for collection in (CLIENTS, DEPLOYMENTS, POLICIES)]
        owners = [one["metadata"]["ownerReferences"][0]["uid"] for one in owned]
        expect(set(owners) == {application["metadata"]["uid"]}, "children that the Application owns", owners)
        tell.succeed("all of it is owned, and goes with the Application")

    def _show_secret(self, client_id: str) -> dict[str, str]:
        tell = self.terminal
        tell.step("The credentials, and how they reach the container")
        secret = self._read_secret()
        tell.say(f"Secret {SECRET}, private values cut:")
        tell.tabulate({name: _cut(name, value) for name, value in secret.items()})
        expect(
            secret["MASKINPORTEN_CLIENT_ID"] == client_id, f"client id {client_id}", secret["MASKINPORTEN_CLIENT_ID"]
        )
        expect(secret["MASKINPORTEN_SCOPES"] == SCOPES, f"scopes {SCOPES!r}", secret["MASKINPORTEN_SCOPES"])
        empty = [name for name, value in secret.items() if not value]
        expect(len(secret) == 7 and not empty, "seven values, none empty", f"{len(secret)}, empty: {empty}")
        tell.succeed("it holds all that an application needs, and the scopes are those of the manifest")
        return secret

    def _show_wiring(self) -> None:
        tell = self.terminal
        template = self._read(DEPLOYMENTS, APP)["spec"]["template"]
        pod = template["spec"]
        container = pod["containers"][0]
        volumes = {one["name"]: one["secret"]["secretName"] for one in pod.get("volumes", ()) if "secret" in one}
        mounts = [one for one in container["volumeMounts"] if one["name"] in volumes]
        tell.say("the Deployment's pod template, as far as it is about that:")
        shown = {
            "metadata": {"labels": {"maskinporten": template["metadata"]["labels"].get("maskinporten")}},
            "spec": {
                "containers": [{name: container.get(name) for name in ("name", "envFrom")} | {"volumeMounts": mounts}],
                # Without the mode, which YAML shows as a decimal number
                "volumes": [{"name": name, "secret": {"secretName": secret}} for name, secret in volumes.items()],
            },
        }
        tell.show(yaml.safe_dump(shown, sort_keys=False).splitlines())
        sources = [one["secretRef"]["name"] for one in container.get("envFrom", ())]
        expect(sources == [SECRET], f"variables from {SECRET}", sources)
        tell.succeed(f"variables: the container has every value of {SECRET}")
        found = {one["mountPath"]: (volumes[one["name"]], one.get("readOnly")) for one in mounts}
        expect(found == {MOUNT: (SECRET, True)}, f"{SECRET} at {MOUNT}, read-only", found)
        tell.succeed(f"files: the same values below {MOUNT}, read-only")
        rules = self._read(POLICIES, APP)["spec"]["egress"]
        tell.say("NetworkPolicy my-app, by published addresses, as this API server has no policies with host names:")
        tell.show(_describe_rule(rule) for rule in rules)
        addresses, port = self.stage.maskinporten
        opened = [[one["ipBlock"]["cidr"] for one in rule["to"]] for rule in rules if rule["ports"][0]["port"] == port]
        expect(opened == [addresses], f"{port} opened to {addresses}", opened)
        tell.succeed("the way to Maskinporten is open, though the manifest doesn't name it; besides DNS nothing else")

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

    def _show_container(self) -> None:
        """Show what the container itself got, with nothing but its environment."""
        tell = self.terminal
        tell.step("Get a token in the container")
        tell.say(f"kubectl logs deployment/{APP} -n {TEAM}")
        claims = wait_for(self._find_claims, SECONDS_TO_READY, "a token in the container")
        tell.tabulate({name: json.dumps(value, ensure_ascii=False) for name, value in claims.items()})
        expect(claims.get("scope") == SCOPES, f"a token with {SCOPES}", claims)
        tell.succeed("the container got it by its environment alone, through the policy, and verified its signature")
        self.summary["token in the container"] = f"{claims['scope']}, client {claims['client_id']}"

    def _find_claims(self) -> dict[str, Any] | None:
        """Find the claims in the container's log: before the policy is enforced it tells of tries that failed."""
        with suppress(ControlPlaneError):  # the container hasn't started
            for line in self.stage.cluster.kubectl("logs", f"deployment/{APP}", "-n", TEAM).splitlines():
                if "scope" in (shown := json.loads(line)):
                    return dict(shown)
        return None

    def _expose(self) -> None:
        tell = self.terminal
        tell.step("Apply an Application that exposes an API")
        tell.show((EXAMPLES / "expose.yaml").read_text().splitlines())
        since = self._last_call()
        self._apply("expose.yaml", API)
        tell.say("meanwhile at DigDir: " + _list_calls(self._calls_since(since)))
        scope = self._read_scope()
        tell.say(f"{EXPOSED} at DigDir:")
        shown = ("description", "active", "at_max_age", "visibility", "accesses")
        tell.tabulate({name: json.dumps(scope[name], ensure_ascii=False) for name in shown})
        expect(scope["active"] and scope["at_max_age"] == 120, "an active scope, 120 s", scope)
        expect(scope["accesses"] == {CONSUMER: "APPROVED"}, f"access for {CONSUMER}", scope["accesses"])
        shown = self._read(CLIENTS, API)["status"]["exposedScopes"]
        expect(shown == [{"name": EXPOSED, "state": "Active", "consumers": 1}], "that in the status", shown)
        tell.succeed("the scope is there, and its consumer has access")
        credentials_of_consumer = self._register_consumer()
        token = get_token(credentials_of_consumer)
        claims = verify_token(credentials_of_consumer, token)
        lifetime = claims["exp"] - claims["iat"]
        expect(claims["consumer"]["ID"] == f"0192:{CONSUMER}", f"a token of {CONSUMER}", claims["consumer"])
        expect(lifetime == 120, "a token of 120 s", lifetime)
        tell.succeed(f"a client of organisation {CONSUMER} gets a token with it, for {lifetime} s as the manifest says")
        self._disable(credentials_of_consumer)
        self.summary["exposed scope"] = f"{EXPOSED}, {lifetime} s, for {CONSUMER}; refused while it is disabled"

    def _register_consumer(self) -> dict[str, str]:
        """The consumer, an organisation of its own, registers a client by hand; give what it gets a token with."""
        key = new_key()
        public = {member: key[member] for member in ("kty", "use", "alg", "kid", "n", "e")}
        client = {
            "client_name": "Consumer",
            "client_orgno": CONSUMER,
            "description": "made by hand",
            "integration_type": "maskinporten",
            "scopes": [EXPOSED],
            "keys": [public],
        }
        registered = self.stage.simulator.control("POST", "clients", client)
        shown = {
            "MASKINPORTEN_CLIENT_ID": registered["client_id"],
            "MASKINPORTEN_CLIENT_JWK": json.dumps(key),
            "MASKINPORTEN_SCOPES": EXPOSED,
        }
        return self._read_secret() | shown

    def _disable(self, consumer: Mapping[str, str]) -> None:
        tell, kubectl = self.terminal, self.stage.cluster.kubectl
        path = "/spec/maskinporten/scopes/exposes/0/enabled"
        for enabled in (False, True):
            patch = json.dumps([{"op": "replace", "path": path, "value": enabled}])
            tell.say(f"kubectl patch applications.nais.io {API} -n {TEAM} --type=json -p '{patch}'")
            kubectl("patch", "application", API, "-n", TEAM, "--type=json", "-p", patch)
            wait_for(lambda: self._read_scope()["active"] is enabled, SECONDS_TO_READY, "the change at DigDir")  # noqa: B023
            if not enabled:
                refusal = find_refusal(consumer)
                expect(refusal and EXPOSED in refusal, "a refusal that names the scope", refusal or "a token")
                tell.succeed(f"disabled, Maskinporten refuses the consumer: {refusal}")
        expect(get_token(consumer), "a token again", "none")
        accesses = self._read_scope()["accesses"]
        expect(accesses == {CONSUMER: "APPROVED"}, "the same access as before", accesses)
        tell.succeed("enabled again, it works as before, and the consumer needed nothing")

    def _read_scope(self) -> dict[str, Any]:
        found = self.stage.simulator.scopes(EXPOSED)
        expect(len(found) == 1, f"one scope {EXPOSED}", found)
        return found[0]

    def _recreate(self, first: str) -> None:
        tell = self.terminal
        tell.step("Delete the Application: its client is kept, and comes back with it")
        since = self._last_call()
        self._delete(first_time=True)
        calls = self._calls_since(since)
        expect(not calls, "no call to DigDir for a deletion that keeps the client", calls)
        tell.succeed("DigDir wasn't called: the client is still registered")
        application, _ = self._apply("consume.yaml", APP, brief=True)
        again = str(application["status"]["clientID"])
        expect(again == first, f"the client id {first} again", again)
        tell.succeed(f"created again, it has the same client id: {again}")
        keys = self._read(CLIENTS, APP)["status"]["keyIDs"]
        tell.say(f"the key is new; the old one stays registered for 24 hours: {len(keys)} keys")
        verify_token(secret := self._read_secret(), get_token(secret))
        tell.succeed("a token with the new key is verified too")
        self.summary["delete, create again"] = f"the same client {again}"

    def _delete_for_good(self, first: str) -> None:
        tell, stage = self.terminal, self.stage
        tell.step("Delete it for good")
        tell.say(f"kubectl annotate maskinportenclient {APP} -n {TEAM} digdir.nais.io/delete=true")
        stage.cluster.kubectl("annotate", "maskinportenclient", APP, "-n", TEAM, "digdir.nais.io/delete=true")
        since = self._last_call()
        self._delete()
        tell.say("meanwhile at DigDir: " + _list_calls(self._calls_since(since)))
        states = {one["client_id"]: one["active"] for one in stage.simulator.clients(DESCRIPTION)}
        expect(states == {first: False}, f"client {first}, inactive", states)
        tell.succeed(f"client {first} is inactive at DigDir: deleted for good")
        application, _ = self._apply("consume.yaml", APP, brief=True)
        second = str(application["status"]["clientID"])
        expect(second != first, f"another client id than {first}", second)
        states = {one["client_id"]: one["active"] for one in stage.simulator.clients(DESCRIPTION)}
        expect(states == {first: False, second: True}, f"{first} inactive and {second} active", states)
        tell.succeed(f"created again, it has a new client id: {second}; the old one stays inactive")
        self.summary["delete for good, create again"] = f"a new client {second}"

    def _apply(self, manifest: str, name: str, *, brief: bool = False) -> tuple[Any, str]:
        """Apply a manifest and follow its Application until its pods are there; give it, and how long that took.

        Brief is to tell only of that, and not of each step on the way.
        """
        tell = self.terminal
        tell.say(f"kubectl apply -f {(EXAMPLES / manifest).relative_to(ROOT)}")
        with Following(self.stage.cluster.admin_kubeconfig, TEAM, APPLICATIONS, CLIENTS, DEPLOYMENTS) as following:
            document = yaml.safe_load((EXAMPLES / manifest).read_text())
            document["spec"]["image"] = self.stage.image or document["spec"]["image"]
            self.stage.cluster.kubectl("apply", "-f=-", stdin=json.dumps(document))
            shown: dict[str, float] = {}
            created = time.monotonic()
            for seen, resource in following.until(created + SECONDS_TO_READY):
                if resource["metadata"]["name"] != name:
                    continue
                created = min(created, seen)
                for news in _find_news(resource):
                    if news not in shown:
                        shown[news] = seen - created
                        if not brief or news.startswith(MILESTONES):
                            tell.say(f"  +{seen - created:.2f} s  {news}")
                if resource["kind"] == "Application" and is_ready(resource):
                    ready = next(moment for news, moment in shown.items() if news.startswith(MILESTONES[0]))
                    return resource, f"{ready:.2f} s and {seen - created:.2f} s"
                if any(": Ready=False" in news for news in shown):
                    break  # time alone does not fix that
        application = self._read(APPLICATIONS, name)
        raise UnexpectedError(f"Ready=True within {SECONDS_TO_READY:.0f} s", "; ".join(_find_news(application)))

    def _delete(self, *, first_time: bool = False) -> None:
        tell, kubectl = self.terminal, self.stage.cluster.kubectl
        tell.say(f"kubectl delete applications.nais.io {APP} -n {TEAM}")
        kubectl("delete", "application", APP, "-n", TEAM, f"--timeout={SECONDS_TO_READY:.0f}s")
        slow = " (half a minute the first time: the kinds are new to it)" if first_time else ""
        tell.say(f"the Application is gone; now Kubernetes' garbage collector takes what it owned{slow}")
        with progress() as line:
            if first_time:
                line.step("Waiting for the garbage collector")
            kubectl("wait", "--for=delete", *CHILDREN, "-n", TEAM, f"--timeout={SECONDS_TO_GO:.0f}s")
        tell.say("MaskinportenClient, Secret, Deployment, Service and NetworkPolicy are gone")

    def _get(self, kinds: str) -> None:
        self.terminal.say(f"kubectl get {kinds} -n {TEAM}")
        self.terminal.show(self.stage.cluster.kubectl("get", kinds, "-n", TEAM).rstrip().splitlines())

    def _read(self, collection: str, name: str) -> dict[str, Any]:
        path = f"{collection.format(namespace=TEAM)}/{name}"
        found = self.stage.kube.find(path)
        expect(found, path, "nothing")
        return dict(found or {})

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


def _find_news(resource: Mapping[str, Any]) -> list[str]:
    """Say in words how far a resource has come."""
    kind = resource["kind"]
    news = [f"{kind}: it is there"]
    if kind == "MaskinportenClient" and resource["metadata"].get("finalizers"):
        news.append(f"{kind}: the operator's finalizer is on it: a client may be registered from now on")
    if kind != "Deployment":  # whose conditions the Application's tell
        conditions = (resource.get("status") or {}).get("conditions", ())
        news += [
            f"{kind}: {one['type']}={one['status']}, {one['reason']}"
            + (f": {one['message']}" if one["status"] != "True" else "")
            for one in conditions
        ]
    return news


def _list_calls(calls: list[tuple[str, Any]]) -> str:
    return ", ".join(f"{call} {status}" for call, status in calls)


def _describe_rule(rule: Mapping[str, Any]) -> str:
    """Say in one line what a rule of a NetworkPolicy opens."""
    peers = [
        one["ipBlock"]["cidr"]
        if "ipBlock" in one
        else "pods in " + ", ".join(one["namespaceSelector"]["matchLabels"].values())
        for one in rule["to"]
    ]
    ports = ", ".join(f"{one['port']}/{one['protocol']}" for one in rule["ports"])
    return f"{ports:<14}  →  {', '.join(peers)}"


def _cut(name: str, value: str) -> str:
    if name != "MASKINPORTEN_CLIENT_JWK":
        return value
    shown = {member: "…" if member in PRIVATE_MEMBERS else text for member, text in json.loads(value).items()}
    shown["n"] = shown["n"][:8] + "…"
    return json.dumps(shown, ensure_ascii=False)
