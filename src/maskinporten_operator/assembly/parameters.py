"""What planning takes from the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maskinporten_operator.model.resources import FQDN_POLICY, INGRESS, POD_MONITOR
from maskinporten_operator.plan.ingress_classes import parse_controller, parse_ingress_class
from maskinporten_operator.plan.platform import (
    Platform,
    Webproxy,
    choose_backend,
    find_fqdn_kind,
    find_published_addresses,
    guards_inbound,
    has_nais_defaults,
    parse_caller,
    parse_dns_server,
)
from maskinporten_operator.plan.registration_settings import RegistrationSettings

if TYPE_CHECKING:
    from collections.abc import Collection

    from maskinporten_operator.config import Config
    from maskinporten_operator.model.resources import Kind


def build_registration_settings(config: Config) -> RegistrationSettings:
    """Take from the configuration what planning a registration needs."""
    return RegistrationSettings(
        cluster=config.cluster_name,
        client_name=config.client_name,
        access_token_lifetime=config.access_token_lifetime,
        default_scope=config.default_client_scope,
        forbidden_scopes=(*config.admin_scopes, *config.forbidden_scopes),
        key_grace=config.key_grace,
        key_max_age=config.key_max_age,
        scope_prefix=config.scope_prefix,
        withdrawn_scopes=config.withdrawn_scopes,
        grant_recheck=config.grant_max_age.total_seconds(),
        deletion_policy=config.deletion_policy,
        takes_over=config.take_over_digdirator,
        verifies=config.verify,
    )


def build_platform(config: Config, served: Collection[Kind]) -> Platform:
    """Take from the configuration, and from what the API server serves, what planning an Application needs."""
    well_known = config.maskinporten_well_known_url
    hosts = config.maskinporten_hosts or (str(well_known.host),)
    backend = choose_backend(config.egress, config.platform, served)
    return Platform(
        name=config.platform,
        cluster=config.cluster_name,
        workloads=config.workloads,
        backend=backend,
        hosts=hosts,
        port=443 if config.maskinporten_hosts else well_known.port or 443,
        cidrs=config.maskinporten_cidrs or find_published_addresses(hosts),
        fqdn_kind=find_fqdn_kind(served) or FQDN_POLICY,
        dns=tuple(parse_dns_server(one) for one in config.egress_dns),
        always=config.egress_always,
        guards_inbound=guards_inbound(config.inbound, config.platform),
        inbound_always=tuple(parse_caller(one) for one in config.inbound_always),
        ingress_classes=tuple(parse_ingress_class(one) for one in config.ingress_classes if INGRESS in served),
        ingress_controllers=tuple(parse_controller(one) for one in config.ingress_controllers),
        pod_monitors=config.pod_monitors and POD_MONITOR in served,
        webproxy=build_webproxy(config),
        run_as_user=config.run_as_user,
        has_nais_defaults=has_nais_defaults(config.workload_defaults, config.platform),
        service_accounts=config.service_accounts,
        image_pull_secrets=config.image_pull_secrets,
    )


def build_webproxy(config: Config) -> Webproxy | None:
    """Take the proxy's address apart."""
    url = config.webproxy_address
    if url is None:
        return None
    return Webproxy(
        url=f"{url.scheme}://{url.host}:{url.port}",  # with the port: without one, programs differ in which they take
        host=str(url.host),
        port=url.port or 80,
        exclude=config.webproxy_exclude,
        cidrs=config.webproxy_cidrs,
    )
