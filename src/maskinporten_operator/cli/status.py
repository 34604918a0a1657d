"""`status`: how resources are, what they have, and what comes next."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from maskinporten_operator.cli.options import NOTHING, SIGNS, count
from maskinporten_operator.cli.output import echo, list_labelled, render_age, render_rows
from maskinporten_operator.model.conditions import escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from maskinporten_operator.plan.overview import ConditionState, KeyState, Overview

HEADINGS = ("NAMESPACE", "KIND", "NAME", "READY", "REASON", "SINCE", "MESSAGE")
STATES = {"True": "passed", "False": "failed", "Unknown": "warning"}
COLOURS = {"True": "green", "False": "red", "Unknown": "yellow"}
WATCH_SECONDS = 2.0
MAX_CELL = 100


@click.command()
@click.argument("name", required=False)
@click.option("-n", "--namespace", help="The namespace; by default that of the kubeconfig.")
@click.option("-A", "--all-namespaces", is_flag=True, help="Resources of all namespaces.")
@click.option("-w", "--watch", is_flag=True, help="Show it anew every two seconds, until Ctrl-C.")
@click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How it is shown."
)
def status(name: str | None, namespace: str | None, output: str, *, all_namespaces: bool, watch: bool) -> None:
    """Show how Applications and MaskinportenClients are, all or those of a NAME, and what comes next.

    Of one it shows what its conditions say and who can fix it, its keys with their ages and the pods that may still
    have an earlier one, its scopes, and what happened last. It asks the API server alone, as kubectl does, with your
    own rights, and reads no Secret's content: the rights to read pods, Events and the metadata of Secrets show more.

    \b
    $ maskinporten-operator status -A
    $ maskinporten-operator status my-app -n my-team --watch
    $ kubectl maskinporten status my-app

    Of a kind that you may not read it says so, and shows the other.

    Exit codes: 0 if it could be read, however the resources are, 1 after a fault or if there is none of the name,
    2 if an option is wrong or no API server is configured.
    """  # noqa: D301 - \b is click's mark for lines that stay lines
    if name and all_namespaces:
        raise click.UsageError("A NAME is of one namespace: write --namespace instead of --all-namespaces.")
    if watch and output != "text":
        raise click.UsageError("--watch shows text.")

    # After the options were read: wrong ones are told at once, and --help loads none of this.
    from maskinporten_operator.assembly.status_reader import NoResourceError  # noqa: PLC0415
    from maskinporten_operator.cli.exit_codes import explain_failures  # noqa: PLC0415

    try:
        with explain_failures():
            asyncio.run(_show(name, namespace, output, all_namespaces=all_namespaces, watch=watch))
    except NoResourceError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    except (asyncio.CancelledError, KeyboardInterrupt):
        sys.exit(0)


async def _show(name: str | None, namespace: str | None, output: str, *, all_namespaces: bool, watch: bool) -> None:
    from maskinporten_operator.adapters.cluster.api import find_namespace  # noqa: PLC0415 - as above
    from maskinporten_operator.assembly.status_reader import open_status_reader  # noqa: PLC0415 - as above

    async with open_status_reader() as reader:
        where = namespace or find_namespace()
        while True:
            if name:
                found = await reader.read_one(where, name)
            else:
                found = await reader.read_all(None if all_namespaces else where)
            text = _render(found, output, datetime.now(UTC), in_full=bool(name))
            if watch:
                click.clear()
            echo(text)
            for lack in reader.lacks:
                click.echo(f"Not shown: {lack}", err=True)
            if not watch:
                return
            await asyncio.sleep(WATCH_SECONDS)


def _render(found: Sequence[Overview], output: str, now: datetime, *, in_full: bool) -> str:
    if output == "json":
        return json.dumps([asdict(one) for one in found], indent=2, ensure_ascii=False, default=_show_time)
    if in_full:
        return "\n\n".join(render_overview(one, now) for one in found)
    return "\n".join(render_rows([HEADINGS, *(_build_row(one, now) for one in found)]) if found else [NOTHING])


def _show_time(moment: datetime) -> str:
    return moment.isoformat()


def _build_row(one: Overview, now: datetime) -> tuple[str, ...]:
    ready = one.ready
    if ready is None:
        return one.namespace, one.kind, one.name, "-", "-", "-", _cut(one.next[0])
    cell = escape(_cut(ready.message))
    return one.namespace, one.kind, one.name, ready.status, escape(ready.reason), render_age(ready.since, now), cell


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CELL else f"{text[:MAX_CELL]}…"


def render_overview(one: Overview, now: datetime) -> str:
    """Render all that is told of a resource."""
    return "\n".join([click.style(f"{one.kind} {one.namespace}/{one.name}", bold=True), *_list_lines(one, now)])


def _list_lines(one: Overview, now: datetime) -> Iterator[str]:
    if one.ready:
        yield _render_condition(one.ready, now)
    if one.remedy:
        yield f"    → {one.remedy}"
    yield from list_labelled("Next", one.next)
    yield from list_labelled("Client", [one.client_id] if one.client_id else [])
    yield from list_labelled("Secret", [one.secret] if one.secret else [])
    yield from list_labelled("Keys", [_render_key(key, now) for key in one.keys])
    consumed = [f"{SIGNS['passed' if it.is_registered else 'failed']} {it.name}" for it in one.consumed]
    yield from list_labelled("Consumes", consumed)
    exposed = [f"{it.name}: {it.state}, {count(it.consumers, 'consumer')}" for it in one.exposed]
    yield from list_labelled("Exposes", exposed)
    if one.events is None:
        yield from list_labelled("Happened", ["Events can't be read with your rights"])
    else:
        yield from list_labelled(
            "Happened",
            [f"{render_age(it.last, now)} ago: {it.reason}: {it.message}{_times(it.count)}" for it in one.events],
        )
    for condition in one.conditions:
        yield _render_condition(condition, now)


def _render_condition(one: ConditionState, now: datetime) -> str:
    sign = click.style(SIGNS[STATES[one.status]], fg=COLOURS[one.status])
    since = f" for {render_age(one.since, now)}" if one.since else ""
    return f"  {sign} {escape(one.type)} is {one.status}{since}, {escape(f'{one.reason}: {one.message}')}"


def _render_key(key: KeyState, now: datetime) -> str:
    age = f", {render_age(key.since, now)} old" if key.since else ""
    place = "in the Secret" if key.is_current else "not in the Secret"
    if key.is_current or key.pods is None:
        return f"{key.id}: {place}{age}"
    holders = f"pods that may have it: {', '.join(key.pods)}" if key.pods else "no pod has it"
    return f"{key.id}: {place}{age}; {holders}"


def _times(count: int) -> str:
    return f" ({count} times)" if count > 1 else ""
