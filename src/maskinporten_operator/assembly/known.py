"""What passes know of the cluster without asking: the router's stores as the ports of a pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maskinporten_operator.model.resources import APPLICATION, MASKINPORTEN_CLIENT
from maskinporten_operator.reconcile.ports import Known
from maskinporten_operator.runtime.owned_changes import WatchedSecrets
from maskinporten_operator.runtime.store import WatchedChildren

if TYPE_CHECKING:
    from maskinporten_operator.reconcile.ports import Namespaces
    from maskinporten_operator.runtime.router import Router


def build_known(router: Router, namespaces: Namespaces) -> Known:
    """Build it."""
    clients, applications = router.stores[MASKINPORTEN_CLIENT], router.owned.get(APPLICATION)
    children = WatchedChildren(
        clients,
        router.versions,
        router.secret_lists,
        router.stores.get(APPLICATION),
        applications.find_owned if applications else None,
    )
    return Known(clients, WatchedSecrets(router.owned[MASKINPORTEN_CLIENT]), children, namespaces)
