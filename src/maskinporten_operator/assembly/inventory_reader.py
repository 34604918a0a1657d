"""The inventory, read from DigDir and from the cluster."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from maskinporten_operator.adapters.cluster.api import load_configuration
from maskinporten_operator.adapters.cluster.watch import list_metadata, list_objects
from maskinporten_operator.assembly.parameters import build_registration_settings
from maskinporten_operator.assembly.parts import open_cluster, open_digdir, read_credentials
from maskinporten_operator.model.maskinportenclient import parse
from maskinporten_operator.model.resources import MASKINPORTEN_CLIENT, NAMESPACE
from maskinporten_operator.plan.classification import InventoryState, classify, find_stale_consumers
from maskinporten_operator.runtime.metrics import Metrics

if TYPE_CHECKING:
    from maskinporten_operator.adapters.digdir.scope_api import ScopeApi
    from maskinporten_operator.config import Config
    from maskinporten_operator.model.maskinportenclient import MaskinportenClient
    from maskinporten_operator.plan.classification import Inventory, Item
    from maskinporten_operator.plan.registration_settings import RegistrationSettings

NO_NAMESPACE = ("-",)
"""A name that none can have, where a selector selects none."""


async def read_inventory(config: Config) -> Inventory:
    """Read what in the organisation belongs to which resource; writes nothing.

    Raises:
        CredentialsError: The operator's own credentials can't be used.
        ClusterUnknownError: No API server is configured.
        OperatorError: Something couldn't be read.
    """
    async with AsyncExitStack() as stack:
        digdir = await open_digdir(config, read_credentials(config), Metrics(), stack)
        api = open_cluster(await load_configuration(), stack)
        namespaces = config.namespaces
        if config.namespace_selector:
            selected, _ = await list_metadata(api, NAMESPACE.path(), config.namespace_selector)
            namespaces = tuple(one["metadata"]["name"] for one in selected) or NO_NAMESPACE
        paths = [MASKINPORTEN_CLIENT.path(namespace) for namespace in namespaces or (None,)]
        resources = [parse(body) for path in paths for body in await list_objects(api, path)]
        settings = build_registration_settings(config)
        clients, scopes = await digdir.clients.list_clients(), await digdir.scopes.list_own()
        found = classify(resources, clients, scopes, settings, namespaces)
        items = [await _add_revokes(item, digdir.scopes, resources, settings) for item in found.items]
        return replace(found, items=tuple(items))


async def _add_revokes(
    item: Item, api: ScopeApi, resources: list[MaskinportenClient], settings: RegistrationSettings
) -> Item:
    if item.kind != "scope" or item.state != InventoryState.ADOPTABLE:
        return item
    consumers = [grant.orgno for grant in await api.list_accesses(item.name) if grant.approved]
    return replace(item, revokes=find_stale_consumers(item, consumers, resources, settings))
