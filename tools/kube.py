"""A small synchronous client of the API server, for tests, benchmarks and the demo."""

from __future__ import annotations

import base64
import json
import ssl
import tempfile
import time
from typing import TYPE_CHECKING, Any, Self

import httpx
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APPLICATIONS = "/apis/nais.io/v1alpha1/namespaces/{namespace}/applications"
CLIENTS = "/apis/nais.io/v1/namespaces/{namespace}/maskinportenclients"
DEPLOYMENTS = "/apis/apps/v1/namespaces/{namespace}/deployments"
POLICIES = "/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies"
SECRETS = "/api/v1/namespaces/{namespace}/secrets"


class KubeClient:
    """The API server of a kubeconfig, with JSON in and out."""

    def __init__(self, kubeconfig: Path, connections: int = 16) -> None:
        """Open connections to the current context's server."""
        self._http = httpx.Client(
            **find_server(kubeconfig), timeout=30, limits=httpx.Limits(max_connections=connections)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def request(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json", **query: Any
    ) -> Any:
        """Send a request.

        Raises:
            httpx.HTTPStatusError: The server refused; its message is in the error's text.
        """
        headers = {"Content-Type": content_type} if body is not None else {}
        response = self._http.request(method, path, json=body, params=query, headers=headers)
        if response.is_error:
            raise httpx.HTTPStatusError(response.text[:600], request=response.request, response=response)
        return response.json()

    def send(self, method: str, path: str, text: str | None = None, content_type: str = "application/json") -> bytes:
        """Send a body as it is, and give the answer as it came; there are bodies that Python's `json` can't take.

        Raises:
            httpx.HTTPStatusError: The server refused; its message is in the error's text.
        """
        headers = {"Content-Type": content_type}
        response = self._http.request(method, path, content=text, headers=headers, timeout=120)
        if response.is_error:
            raise httpx.HTTPStatusError(response.text[:600], request=response.request, response=response)
        return response.content

    def read_columns(self, path: str) -> dict[str, Any]:
        """Read what `kubectl get` shows of an object, by the names of its columns.

        From the API server's memory: what was written last may not be in it yet. A huge object costs hardly anything.
        """
        headers = {"Accept": "application/json;as=Table;g=meta.k8s.io;v=v1"}
        query = {"resourceVersion": "0", "includeObject": "None"}
        table = self._http.get(path, params=query, headers=headers).raise_for_status().json()
        names = [column["name"] for column in table["columnDefinitions"]]
        return dict(zip(names, table["rows"][0]["cells"], strict=True))

    def find(self, path: str) -> Any | None:
        """Read an object; None if there is none."""
        response = self._http.get(path)
        return None if response.status_code == httpx.codes.NOT_FOUND else response.raise_for_status().json()

    def create_namespace(self, name: str, labels: dict[str, str] | None = None) -> None:
        """Create a namespace, if there is none of that name."""
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels or {}}}
        if self.find(f"/api/v1/namespaces/{name}") is None:
            self.request("POST", "/api/v1/namespaces", body)

    def create_client(self, namespace: str, name: str, spec: dict[str, Any], **metadata: Any) -> Any:
        """Create a MaskinportenClient."""
        body = {
            "apiVersion": "nais.io/v1",
            "kind": "MaskinportenClient",
            "metadata": {"name": name, "namespace": namespace, **metadata},
            "spec": spec,
        }
        return self.request("POST", CLIENTS.format(namespace=namespace), body)

    def find_client(self, namespace: str, name: str) -> Any | None:
        """Read a MaskinportenClient; None if there is none."""
        return self.find(f"{CLIENTS.format(namespace=namespace)}/{name}")

    def find_secret(self, namespace: str, name: str) -> Any | None:
        """Read a Secret; None if there is none."""
        return self.find(f"{SECRETS.format(namespace=namespace)}/{name}")

    def patch_client(self, namespace: str, name: str, patch: dict[str, Any]) -> Any:
        """Merge a patch into a MaskinportenClient."""
        path = f"{CLIENTS.format(namespace=namespace)}/{name}"
        return self.request("PATCH", path, patch, "application/merge-patch+json")

    def watch_clients(self, namespace: str) -> Iterator[Any]:
        """Give each MaskinportenClient of a namespace; see `watch`."""
        return self.watch(CLIENTS.format(namespace=namespace))

    def watch(self, path: str) -> Iterator[Any]:
        """Give each object of a collection as it is now and as it changes, until the caller or the server ends it."""
        query = {"watch": "true", "timeoutSeconds": "600"}
        with self._http.stream("GET", path, params=query, timeout=None) as response:
            response.raise_for_status()
            for line in response.iter_lines():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return  # a gap: another watch begins with what is there
                yield event["object"]

    def delete_client(self, namespace: str, name: str, policy: str = "Background") -> None:
        """Delete a MaskinportenClient, if there is one."""
        path = f"{CLIENTS.format(namespace=namespace)}/{name}"
        response = self._http.delete(path, params={"propagationPolicy": policy})
        if response.status_code != httpx.codes.NOT_FOUND:
            response.raise_for_status()


def is_ready(resource: Any) -> bool:
    """Whether a resource is Ready at its present generation."""
    return is_true(resource, "Ready")


def is_true(resource: Any, condition: str) -> bool:
    """Whether a condition of a resource is True at its present generation."""
    conditions = resource.get("status", {}).get("conditions", [])
    return any(
        one["type"] == condition
        and one["status"] == "True"
        and one["observedGeneration"] == resource["metadata"]["generation"]
        for one in conditions
    )


def credentials(secret: Any) -> dict[str, str]:
    """Decode a Secret's values."""
    return {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}


def find_server(kubeconfig: Path) -> dict[str, Any]:
    """Give how httpx reaches the current context's server, as its user."""
    config = yaml.safe_load(kubeconfig.read_text())
    names = next(one for one in config["contexts"] if one["name"] == config["current-context"])["context"]
    cluster = next(one for one in config["clusters"] if one["name"] == names["cluster"])["cluster"]
    user = next(one for one in config["users"] if one["name"] == names["user"])["user"]
    headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
    return {"base_url": cluster["server"], "verify": _tls(cluster, user), "headers": headers, "trust_env": False}


def _tls(cluster: dict[str, Any], user: dict[str, Any]) -> ssl.SSLContext:
    if "certificate-authority-data" in cluster:
        context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    else:
        context = ssl.create_default_context(cafile=cluster.get("certificate-authority"))
    if "client-certificate-data" in user:
        # The library takes a client certificate from files only.
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as pem:
            for part in ("client-certificate-data", "client-key-data"):
                pem.write(base64.b64decode(user[part]).decode() + "\n")
            pem.flush()
            context.load_cert_chain(pem.name)
    elif "client-certificate" in user:
        context.load_cert_chain(user["client-certificate"], user["client-key"])
    return context


def wait_for(look: Any, seconds: float, what: str) -> Any:
    """Look until there is something, and give it.

    Raises:
        TimeoutError: There was nothing within `seconds`; the text says what was waited for.
    """
    deadline = time.monotonic() + seconds
    while True:
        if found := look():
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} didn't come about within {seconds:.0f} s")
        time.sleep(0.05)
