"""`doctor`: whether everything that the operator needs of DigDir is there, and what isn't."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import click

from maskinporten_operator.cli.options import SIGNS, config_options, load_or_exit

if TYPE_CHECKING:
    from collections.abc import Callable

    from maskinporten_operator.assembly.diagnosis import Diagnosis
    from maskinporten_operator.config import Config
    from maskinporten_operator.plan.findings import Check

SETTINGS = (
    *("cluster_name", "digdir_base_url", "maskinporten_well_known_url", "admin_client_id"),
    *(
        "admin_signer",
        "admin_key_id",
        "admin_cert_chain_file",
        "admin_key_file",
        "admin_jwk_file",
        "admin_scopes",
        "client_name",
    ),
    *("access_token_lifetime", "scope_prefix", "default_client_scope", "list_lag", "ca_bundle", "log_level"),
)
NAME_WIDTH = 28


@click.command()
@click.option(
    "--write", is_flag=True, help="Also make one client, give it a key, get a token for it, and delete it for good."
)
@click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How it is shown."
)
@partial(config_options, names=SETTINGS)
def doctor(*, write: bool, output: str, **flags: Any) -> None:
    """Check that the operator can work with DigDir, and say what is wrong and who can fix it.

    For the first contact with DigDir's test environment, and whenever something there seems to be wrong. It looks at
    the addresses, at Maskinporten's metadata and the clock, gets a token with all rights and with each alone, makes
    every call that the operator reads by, and compares the answers with what is known of DigDir's API. It changes
    nothing, at DigDir or in the cluster, unless --write is given.

    Settings are those of `run`, as options or in the environment:

    \b
    $ maskinporten-operator doctor --cluster-name my-cluster \\
        --digdir-base-url https://api.test.samarbeid.digdir.no \\
        --maskinporten-well-known-url https://test.maskinporten.no/.well-known/oauth-authorization-server \\
        --admin-client-id 0f0b3a46-5f60-4bd0-a5a3-b9a6a4b4c1f2 --admin-jwk-file admin.jwk
    $ kubectl exec -n maskinporten-operator deployment/maskinporten-operator -- maskinporten-operator doctor

    --write makes a client with the description "maskinporten-operator doctor of cluster …", which no resource's
    client can have, and deletes it whatever happens meanwhile. What an earlier run had to leave behind goes too.

    -o json is a report to be sent on: it has neither keys nor tokens, and of answers the types alone, but client ids,
    names of scopes and the organisation's number.

    Exit codes: 0 if the operator can work, also with warnings, 1 if something is wrong, 2 if the configuration can't
    be used.
    """  # noqa: D301 - \b is click's mark for lines that stay lines
    config = load_or_exit(flags)

    # After the settings were read: wrong ones are told at once, and --help loads none of this.
    from maskinporten_operator.cli.exit_codes import explain_failures  # noqa: PLC0415
    from maskinporten_operator.logs import configure_logs  # noqa: PLC0415

    configure_logs(config.log_level, "text")
    started = datetime.now(UTC)
    on_check: Callable[[Check], None] = _say if output == "text" else lambda _: None
    try:
        with explain_failures():
            diagnosis = asyncio.run(_diagnose(config, on_check, write=write))
    except (asyncio.CancelledError, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        sys.exit(1)
    if output == "json":
        click.echo(json.dumps(build_report(config, diagnosis, started, write=write), indent=2, ensure_ascii=False))
    else:
        click.echo(f"\n{summarize(diagnosis)}")
    sys.exit(1 if diagnosis.failed else 0)


async def _diagnose(config: Config, on_check: Callable[[Check], None], *, write: bool) -> Diagnosis:
    from maskinporten_operator.assembly.checkup import diagnose  # noqa: PLC0415 - as above

    task = asyncio.current_task()
    assert task
    for number in (signal.SIGTERM, signal.SIGHUP):  # as by Ctrl-C: the client that was made is deleted first
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await diagnose(config, on_check, lambda text: click.echo(f"… {text}", err=True), write=write)


def _say(check: Check) -> None:
    click.echo(render(check))


def render(check: Check) -> str:
    """Render a check as a line, and one more for who can fix it."""
    line = f"{SIGNS[check.state]} {check.name.ljust(NAME_WIDTH)} {check.message}"
    return f"{line}\n{' ' * (NAME_WIDTH + 3)}→ {check.remedy}" if check.remedy else line


def summarize(diagnosis: Diagnosis) -> str:
    """Tell how it went in a sentence or two."""
    counts = diagnosis.build_report()["summary"]
    message = f"{counts['passed']} fine, {counts['warning']} to look at, {counts['failed']} wrong"
    message += f", {counts['skipped']} not looked at" if counts["skipped"] else ""
    if diagnosis.failed:
        return (
            f"{message}. The operator can't work like this; what → says helps. With -o json this is a report to send."
        )
    return f"{message}. The operator can work with this."


def build_report(config: Config, diagnosis: Diagnosis, started: datetime, *, write: bool) -> dict[str, Any]:
    """Build the document that is sent on."""
    from digdir_contract import load  # noqa: PLC0415 - as above
    from maskinporten_operator.model.signer_reference import find_provider  # noqa: PLC0415 - as above
    from maskinporten_operator.plan.findings import show_url  # noqa: PLC0415 - as above

    return {
        "version": version("maskinporten-operator"),
        "contract": load().state,
        "started": started.isoformat(timespec="seconds"),
        "wrote": write,
        "settings": {
            "clusterName": config.cluster_name,
            "digdirBaseUrl": show_url(str(config.digdir_base_url)),
            "maskinportenWellKnownUrl": show_url(str(config.maskinporten_well_known_url)),
            "adminClientId": config.admin_client_id,
            "adminScopes": list(config.admin_scopes),
            "credentials": "certificate" if config.admin_cert_chain_file else "registered key",
            "signer": provider.name if (provider := find_provider(config.admin_signer or "")) else "",
        },
        **diagnosis.build_report(),
    }
