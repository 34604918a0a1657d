"""The command ``digdir-simulator-admin-key``: the admin client's key in a Secret, for a simulator in a cluster."""

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from kubernetes import config as kubernetes_config
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from digdir_simulator import jws

KEY = "jwk.json"
"""Where in the Secret the private JWK is."""
TIMEOUT = 10.0
# A pod that has just started may not be let through to the API server yet; nothing but connecting is tried again.
RETRY = Retry(total=None, connect=5, read=0, redirect=0, status=0, other=0, backoff_factor=0.5)


class Secrets:
    """The Secret of a name: read, and written if nobody wrote it meanwhile.

    Plain calls, since the typed API of the package costs 30 MiB and isn't compiled in the image.
    """

    def __init__(self, api: ApiClient, namespace: str, name: str) -> None:
        """Speak to the API server about one Secret."""
        self._api = api
        self._path = f"/api/v1/namespaces/{namespace}/secrets/{name}"

    def read(self) -> Mapping[str, Any]:
        """Read it, whole."""
        return self._request("GET", None)

    def write(self, data: Mapping[str, str], resource_version: str) -> None:
        """Put in `data`, values in base64, unless another version is there by now."""
        self._request("PATCH", {"metadata": {"resourceVersion": resource_version}, "data": data})

    def _request(self, method: str, body: Mapping[str, Any] | None) -> Mapping[str, Any]:
        headers = {"Accept": "application/json", "Content-Type": "application/merge-patch+json"}
        parameters = self._api.param_serialize(
            method=method,
            resource_path=self._path,
            query_params=[("fieldManager", "digdir-simulator")] if body else [],
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        response = self._api.call_api(*parameters, _request_timeout=TIMEOUT)
        data = response.read()  # type: ignore[no-untyped-call]
        if not 200 <= response.status <= 299:
            raise ApiException(status=response.status, reason=response.reason)
        answer: dict[str, Any] = json.loads(data)
        return answer


def ensure_jwk(secrets: Secrets) -> Mapping[str, Any]:
    """Give the private JWK in the Secret; if there is none, make one and put it there.

    Raises:
        ValueError: What is there is no RSA JWK.
        ApiException: The API server refuses, or somebody else wrote the Secret at the same time.
    """
    secret = secrets.read()
    if text := (secret.get("data") or {}).get(KEY):
        jwk = json.loads(base64.b64decode(text))
        if not isinstance(jwk, dict) or not jws.PRIVATE_MEMBERS & jwk.keys():
            raise ValueError("no private JWK")
        jws.public_key(jwk)
        return jwk
    made = jws.new_private_jwk()
    secrets.write({KEY: base64.b64encode(json.dumps(made).encode()).decode()}, secret["metadata"]["resourceVersion"])
    return made


def _load_configuration() -> Configuration:
    """Find the API server: KUBECONFIG if it is set, else the pod's ServiceAccount."""
    configuration = Configuration()
    if path := os.environ.get("KUBECONFIG"):
        kubernetes_config.load_kube_config(path, client_configuration=configuration)  # type: ignore[no-untyped-call]
    else:
        kubernetes_config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    configuration.retries = RETRY
    return configuration


@click.command()
@click.option("--namespace", required=True, help="Namespace of the Secret.")
@click.option("--secret", required=True, help="Name of the Secret, which must exist, with or without data.")
@click.option(
    "--public-jwk-file",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the public part goes, for --admin-jwk-file of the simulator.",
)
def main(*, namespace: str, secret: str, public_jwk_file: Path) -> None:
    """Make the admin client's private key in a Secret of the cluster, unless it has one.

    Who may read that Secret has the key. The simulator is given its public part and never sees the rest.
    """
    try:
        jwk = ensure_jwk(Secrets(ApiClient(_load_configuration()), namespace, secret))
        public_jwk_file.write_text(json.dumps(jws.public_jwk(jwk)))
    except kubernetes_config.ConfigException as error:
        raise click.ClickException(f"no API server is configured: {error}") from None
    except ApiException as error:
        # Its text has the answer's headers and body
        raise click.ClickException(f"Secret {namespace}/{secret}: {error.status} {error.reason}") from None
    except (HTTPError, OSError) as error:
        raise click.ClickException(f"Secret {namespace}/{secret}: {type(error).__name__}: {error}") from None
    except ValueError:
        # The parser's own message may quote the text, which is secret
        raise click.ClickException(f"{KEY} of Secret {namespace}/{secret} is no private RSA JWK: remove it") from None
    click.echo(f"the admin client's key {jwk['kid']} is in Secret {namespace}/{secret}")


if __name__ == "__main__":
    main()
