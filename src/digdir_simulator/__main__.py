"""The command ``digdir-simulator``."""

import asyncio
import json
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import uvicorn
import yaml
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from digdir_simulator import jws
from digdir_simulator.app import create_app
from digdir_simulator.certificates import load_trusted
from digdir_simulator.config import Config, Settings
from digdir_simulator.connections import ABORT_EXTENSION
from digdir_simulator.simulator import Simulator
from digdir_simulator.state_file import StateFileError


class AbortableProtocol(H11Protocol):
    """HTTP/1.1 by uvicorn, which lends the application a way to abort the connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin a connection."""
        super().connection_made(transport)
        app = self.app

        async def with_abort(scope: Scope, receive: Receive, send: Send) -> None:
            scope.setdefault("extensions", {})[ABORT_EXTENSION] = transport.abort
            await app(scope, receive, send)

        self.app = with_abort


class Server(uvicorn.Server):
    """uvicorn that says on standard output when it is ready."""

    def __init__(self, config: uvicorn.Config, url: str, simulator: Simulator) -> None:
        """Serve `simulator` at `url`; at the end, drop the calls that wait, and close its state file."""
        super().__init__(config)
        self._url = url
        self._simulator = simulator

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve."""
        await super().startup(sockets)
        click.echo(f"digdir-simulator listening on {self._url}")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop to serve."""
        self._simulator.abandon()
        await super().shutdown(sockets)
        # What can't be written was answered with a 503, and is in the log
        with suppress(StateFileError):
            await self._simulator.close()


def admin_jwk(path: Path) -> Mapping[str, Any]:
    """Return the JWK in the file at `path`; if there is no such file, make one with a new private key.

    Raises:
        click.ClickException: the file can't be read or written, or has no RSA JWK.
    """
    try:
        try:
            # 0600 from the start, so that at no time another user can open it
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            jwk = json.loads(path.read_bytes())
        else:
            jwk = jws.new_private_jwk()
            with os.fdopen(descriptor, "w") as file:
                json.dump(jwk, file)
        if not isinstance(jwk, dict):
            raise click.ClickException(f"{path} has no JWK")
        jws.public_key(jwk)
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from error
    except ValueError as error:
        # The parser's own message may quote the text, which is secret
        raise click.ClickException(f"{path} has no RSA JWK") from error
    return jwk


def _read_certificates(path: Path) -> str:
    try:
        pem = path.read_text("ascii")
        load_trusted(pem)
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise click.ClickException(f"{path} has no certificates in PEM") from error
    return pem


def _settings(values: tuple[str, ...]) -> Settings:
    pairs = dict(value.partition("=")[::2] for value in values)
    try:
        return Settings.model_validate({name: yaml.safe_load(text) for name, text in pairs.items()})
    except (ValidationError, yaml.YAMLError) as error:
        raise click.BadParameter(str(error), param_hint="--set") from error


def _help_on_settings() -> str:
    lines = [
        f"  {name} (default {field.default}): {field.description}" for name, field in Settings.model_fields.items()
    ]
    return "\b\nSettings for --set, also changed at run time with PATCH /control/settings:\n" + "\n".join(lines)


@click.command(epilog=_help_on_settings())
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8080, show_default=True, help="Port to listen on; 0 takes a free one.")
@click.option(
    "--public-url",
    help="URL under which clients reach the simulator. With a trailing slash it is the issuer, so it is "
    "what assertions must have as aud.  [default: http://HOST:PORT]",
)
@click.option(
    "--admin-jwk-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="RSA JWK, public or private, of the operator's own admin client. A file that doesn't exist is "
    "made, mode 0600, with a new private key. Without this option nobody can call the admin API until "
    "a client is seeded.",
)
@click.option(
    "--admin-cert-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Instead of a JWK: PEM certificates that are trusted. The admin client then has no registered key, and signs "
    "with a certificate of its organisation's, which is one of these or issued by one of these.",
)
@click.option("--admin-client-id", default="admin-client", show_default=True, help="client_id of that client.")
@click.option(
    "--seed",
    "seed_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="YAML or JSON with the organisation, its clients, scopes and accesses. Without it: organisation "
    "889640782 with prefix nav and a handful of scopes.",
)
@click.option(
    "--state-file",
    type=click.Path(path_type=Path),
    help="Keep clients, keys, scopes, accesses and delegations in this file, an SQLite database, for the next start; "
    "each change is on the disk before it is answered. A file that doesn't exist is made. The seed fills an empty "
    "file only.",
)
@click.option("--api-prefix", default="/api/v1", show_default=True, help="Path before /clients.")
@click.option("--ledger-size", default=200_000, show_default=True, help="Number of calls that are kept.")
@click.option(
    "--control-from-anywhere",
    is_flag=True,
    help="Let callers on other machines use /control too, which asks for no credentials.",
)
@click.option("--set", "settings", metavar="NAME=VALUE", multiple=True, help="A setting; may be repeated.")
def main(
    *,
    host: str,
    port: int,
    public_url: str | None,
    admin_jwk_file: Path | None,
    admin_cert_file: Path | None,
    admin_client_id: str,
    seed_file: Path | None,
    state_file: Path | None,
    api_prefix: str,
    ledger_size: int,
    control_from_anywhere: bool,
    settings: tuple[str, ...],
) -> None:
    """Simulate DigDir's self-service admin API and Maskinporten's token endpoint.

    Everything is kept in memory and gone at the end, unless there is a --state-file. One line on
    standard output says when the simulator is ready and where:

    \b
      digdir-simulator listening on http://127.0.0.1:8080

    \b
    Then, for instance:
      digdir-simulator --admin-jwk-file admin.jwk --set latency_ms=80
      curl http://127.0.0.1:8080/.well-known/oauth-authorization-server
      curl http://127.0.0.1:8080/api/v1/scopes/all
      curl http://127.0.0.1:8080/control/ledger/summary

    \b
    Paths: /token /jwk /.well-known/oauth-authorization-server (Maskinporten),
    /api/v1/… (admin API), /control/… (faults, settings, ledger, state; no authentication, so
    only for callers on this machine).
    """  # noqa: D301 - \b is click's mark for a paragraph that keeps its lines
    if admin_jwk_file and admin_cert_file:
        raise click.UsageError("--admin-jwk-file and --admin-cert-file exclude each other")
    listener = _listen(host, port)
    url = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
    try:
        config = Config(
            public_url=public_url or url,
            admin_client_id=admin_client_id,
            admin_jwk=admin_jwk(admin_jwk_file) if admin_jwk_file else None,
            trusted_certificates=_read_certificates(admin_cert_file) if admin_cert_file else None,
            seed=yaml.safe_load(seed_file.read_bytes()) if seed_file else None,
            state_file=state_file,
            settings=_settings(settings),
            api_prefix=api_prefix,
            ledger_size=ledger_size,
            control_from_anywhere=control_from_anywhere,
        )
        app = create_app(config)
    except (ValueError, yaml.YAMLError, StateFileError) as error:
        raise click.ClickException(str(error)) from error
    Server(_configure_server(app), url, app.state.simulator).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named, or asyncio leaves Nagle's algorithm on and each answer takes 40 ms
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        raise click.ClickException(f"can't listen on {host}:{port}: {error.strerror}") from error
    return listener


def _configure_server(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=AbortableProtocol,
        loop="asyncio",
        lifespan="off",
        ws="none",
        # Nobody may say in a header that he calls from here
        proxy_headers=False,
        access_log=False,
        log_level="warning",
        # Longer than clients keep idle connections, lest one is closed as it is used again
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
    )


if __name__ == "__main__":
    main()
