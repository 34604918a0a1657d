"""The renewal of the operator's own key, as the configuration says."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from maskinporten_operator.adapters.clock import SystemClock, SystemRandomness
from maskinporten_operator.adapters.cluster.admin_secret import KubernetesAdminSecret
from maskinporten_operator.plan.admin_key import AdminKeySettings
from maskinporten_operator.reconcile.admin_key_pass import AdminKeyPorts, renew_admin_key
from maskinporten_operator.runtime.admin_key_renewal import AdminKeyRenewal

if TYPE_CHECKING:
    from typing import Literal

    from maskinporten_operator.assembly.parts import Parts
    from maskinporten_operator.config import Config
    from maskinporten_operator.reconcile.ports import Announcer


def build_renewal(config: Config, parts: Parts, announcer: Announcer) -> AdminKeyRenewal | None:
    """Build what renews the key, and show it in the metrics; None if the operator isn't to renew it."""
    if not config.admin_key_rotation:
        return None
    namespace, name, entry = str(config.admin_key_secret).split("/")
    secret = KubernetesAdminSecret(parts.api, namespace, name, entry)
    ports = AdminKeyPorts(
        client_id=config.admin_client_id,
        scopes=config.admin_scopes,
        settings=AdminKeySettings(config.cluster_name, config.admin_key_max_age, config.key_grace),
        in_force=parts.credentials.read_kid,
        keys=parts.clients,
        secret=secret,
        ask=parts.tokens.ask,
        key_pool=parts.key_pool,
        clock=SystemClock(),
        random=SystemRandomness(),
        sleep=asyncio.sleep,
    )

    def announce(kind: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        if secret.meta:
            announcer.announce(secret.meta, kind, reason, message)

    renewal = AdminKeyRenewal(partial(renew_admin_key, ports), announce)
    parts.metrics.gauge(
        "admin_key_age_seconds",
        "How old the operator's own key was at the latest look; with ADMIN_KEY_ROTATION only.",
        lambda: renewal.age,
    )
    parts.metrics.gauge(
        "admin_key_renewal_blocked",
        "1 if something keeps the operator from renewing its own key, else 0; with ADMIN_KEY_ROTATION only.",
        lambda: int(bool(renewal.problem)),
    )
    return renewal
