"""`token`: a token as the workload would get it, and what Maskinporten means if it gives none."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maskinporten_operator.cli.options import SIGNS
from maskinporten_operator.cli.output import echo, list_labelled, render_age
from maskinporten_operator.model.conditions import escape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maskinporten_operator.plan.token_report import Refusal, TokenReport

TOLD = frozenset({"scope", "consumer", "exp", "client_id", "iss"})
"""Claims that have a line of their own."""


@click.command()
@click.argument("name")
@click.option("-n", "--namespace", help="The namespace; by default that of the kubeconfig.")
@click.option(
    "-s", "--scope", "scopes", multiple=True, help="A scope to ask for, repeatable; by default all of the Secret's."
)
@click.option("--resource", multiple=True, help="The address of an API that the token is for, repeatable.")
@click.option("--consumer-org", "consumer", help="The number of an organisation that delegated the scopes.")
@click.option("--raw", is_flag=True, help="Print the token, which is secret, and nothing else.")
@click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How it is shown."
)
@click.option(
    "--ca-bundle",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    envvar="MASKINPORTEN_OPERATOR_CA_BUNDLE",
    help="A file of certificates (PEM) to trust in the place of the system's.",
)
def token(
    name: str,
    namespace: str | None,
    scopes: tuple[str, ...],
    resource: tuple[str, ...],
    consumer: str | None,
    output: str,
    ca_bundle: Path | None,
    *,
    raw: bool,
) -> None:
    """Get a token as the workload of an Application or MaskinportenClient would, and show what is in it.

    By the key in the NAME's Secret it asks Maskinporten for the scopes that the Secret names, which is all that a
    workload does. So it proves the credentials, and says in words what Maskinporten means if it gives no token, and
    who can fix that. It takes your own right to get the Secret. Nothing secret is printed, unless --raw asks for it.

    \b
    $ kubectl maskinporten token my-app -n my-team
    $ kubectl maskinporten token my-app --scope skatt:some.scope --resource https://api.example
    $ curl -H "Authorization: Bearer $(kubectl maskinporten token my-app --raw)" https://api.example

    The request is sent from here: HTTPS_PROXY and NO_PROXY hold, and it is this machine's clock that counts.

    Exit codes: 0 if a token was issued, 1 if none was, whatever the cause, 2 if an option is wrong or no API server is
    configured.
    """  # noqa: D301 - \b is click's mark for lines that stay lines
    if raw and output != "text":
        raise click.UsageError("--raw prints the token alone: leave out --output.")

    # After the options were read: wrong ones are told at once, and --help loads none of this.
    from maskinporten_operator.assembly.token_reader import NoCredentialsError, Wishes  # noqa: PLC0415
    from maskinporten_operator.cli.exit_codes import explain_failures  # noqa: PLC0415

    wishes = Wishes(tuple(" ".join(scopes).split()), resource, consumer)
    try:
        with explain_failures():
            report, secret = asyncio.run(_ask(name, namespace, wishes, ca_bundle))
    except NoCredentialsError as error:
        click.echo(f"Error: {escape(str(error))}", err=True)
        sys.exit(1)
    if raw and report.issued:
        click.echo(secret)
    else:
        text = render_json(report) if output == "json" else render(report, datetime.now(UTC))
        echo(text, err=raw)
    sys.exit(0 if report.issued else 1)


async def _ask(name: str, namespace: str | None, wishes: Any, ca_bundle: Path | None) -> tuple[TokenReport, str]:
    from maskinporten_operator.adapters.cluster.api import find_namespace  # noqa: PLC0415 - as above
    from maskinporten_operator.assembly.token_reader import open_token_reader  # noqa: PLC0415 - as above

    async with open_token_reader(ca_bundle) as reader:
        return await reader.ask(namespace or find_namespace(), name, wishes)


def render_json(report: TokenReport) -> str:
    """Render it for programs."""
    return json.dumps(asdict(report), indent=2, ensure_ascii=False, default=datetime.isoformat)


def render(report: TokenReport, now: datetime) -> str:
    """Render it for people."""
    title = f"MaskinportenClient {report.namespace}/{report.name}, with Secret {report.secret}"
    return "\n".join([click.style(title, bold=True), *_list_lines(report, now)])


def _list_lines(report: TokenReport, now: datetime) -> Iterator[str]:
    if report.refusal:
        yield from _list_refusal(report.refusal)
    else:
        yield f"  {_sign('passed')} {escape(report.issuer)} issued a token"
    if report.clock:
        yield f"  {_sign('warning')} clock: {report.clock}"
    yield from list_labelled("Asked at", [report.token_endpoint])
    yield from list_labelled("Client", [report.client_id])
    yield from list_labelled("Key", [report.key_id])
    yield from list_labelled("Resource", report.resource)
    if not report.issued:
        yield from list_labelled("Asked for", report.asked)
        return
    yield from list_labelled("Consumer", [report.organisation] if report.organisation else [])
    yield from list_labelled("Scopes", [_render_scope(one, report) for one in (*report.asked, *_list_others(report))])
    if report.expires:
        yield from list_labelled(
            "Ends", [f"{report.expires:%Y-%m-%d %H:%M:%S} UTC, in {render_age(now, report.expires)}"]
        )
    others = {name: value for name, value in report.claims.items() if name not in TOLD}
    yield from list_labelled("Claims", [f"{name}: {_render_claim(value)}" for name, value in others.items()])


def _list_refusal(refusal: Refusal) -> Iterator[str]:
    yield f"  {_sign('failed')} {escape(refusal.meaning)}"
    yield f"    → {escape(refusal.remedy)}"
    said = " ".join(one for one in (refusal.code, refusal.error) if one)
    yield f"    Maskinporten says: {escape(': '.join(one for one in (said, refusal.words) if one))}"


def _render_scope(scope: str, report: TokenReport) -> str:
    if scope not in report.scopes:
        return f"{SIGNS['failed']} {scope}: asked for, and not in the token"
    return f"{SIGNS['passed']} {scope}" + ("" if scope in report.asked else ": not asked for, and in the token")


def _list_others(report: TokenReport) -> list[str]:
    return [scope for scope in report.scopes if scope not in report.asked]


def _render_claim(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _sign(state: str) -> str:
    return click.style(SIGNS[state], fg={"passed": "green", "failed": "red", "warning": "yellow"}[state])
