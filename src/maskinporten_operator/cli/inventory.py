"""`inventory`: what in the organisation belongs to which resource."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from maskinporten_operator.cli.options import config_options, load_or_exit
from maskinporten_operator.cli.output import render_rows

if TYPE_CHECKING:
    from maskinporten_operator.plan.classification import Inventory, Item

HEADINGS = ("STATE", "KIND", "NAME", "RESOURCE", "DESCRIPTION")


@click.command()
@click.option(
    "-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True, help="How it is shown."
)
@config_options
def inventory(output: str, **flags: Any) -> None:
    """Show what in the organisation belongs to which resource. Changes nothing.

    Settings are those of `run`. Look here before the first start in an organisation that has clients and scopes
    already, or after another operator:

    \b
    Conflict   a resource exposes a scope that isn't described as its own: never touched
    Adoptable  described as a resource's own, and not yet managed: will be, with its id
    Missing    a resource asks for it: will be made
    Duplicate  a further client described as a resource's own: left alone
    Withdrawn  a scope that its resource doesn't expose any more, and that is still active
    Orphaned   described as of this cluster, and there is no such resource
    Managed    a resource's own, and kept as the resource says

    Exit codes: 0 if it could be read, 1 after a fault, 2 if the configuration can't be used.
    """  # noqa: D301 - \b is click's mark for lines that stay lines
    config = load_or_exit(flags)

    # After the settings were read: wrong ones are told at once, and --help loads none of this.
    from maskinporten_operator.assembly.inventory_reader import read_inventory  # noqa: PLC0415
    from maskinporten_operator.cli.exit_codes import explain_failures  # noqa: PLC0415
    from maskinporten_operator.logs import configure_logs  # noqa: PLC0415

    configure_logs(config.log_level, "text")  # to standard error: the other one is for the inventory
    with explain_failures():
        found = asyncio.run(read_inventory(config))
    click.echo(render_json(found, config.cluster_name) if output == "json" else render_table(found))


def render_json(found: Inventory, cluster: str) -> str:
    """Render it for programs."""
    document = {
        "cluster": cluster,
        "items": [asdict(item) for item in found.items],
        "foreign": {"clients": found.foreign_clients, "scopes": found.foreign_scopes},
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def render_table(found: Inventory) -> str:
    """Render it for people, in columns as kubectl does."""
    rows = [HEADINGS, *(_row(item) for item in found.items)]
    foreign = (
        f"{found.foreign_clients} clients and {found.foreign_scopes} scopes of the organisation concern nobody here"
    )
    return "\n".join(
        [*(render_rows(rows) if found.items else ["No resources, and nothing of this cluster at DigDir."]), "", foreign]
    )


def _row(item: Item) -> tuple[str, ...]:
    described = item.description + (f" (adopting it revokes {', '.join(item.revokes)})" if item.revokes else "")
    return str(item.state), item.kind, item.name or "-", item.resource or "-", described or "-"
