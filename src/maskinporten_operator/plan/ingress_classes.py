"""Which ingress class serves which hosts, and who its controllers are, as the cluster's configuration says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from maskinporten_operator.model.resources import DNS_SUBDOMAIN_PATTERN
from maskinporten_operator.plan.platform import IngressClass, parse_caller

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maskinporten_operator.plan.platform import Pods

MAX_CLASS_LENGTH = 253


def parse_ingress_class(text: str) -> IngressClass:
    """Read `suffix=class`; `*` is the suffix of every host.

    Raises:
        ValueError: It isn't that.
    """
    suffix, _, name = text.partition("=")
    if not (suffix == "*" or _is_name(suffix.removeprefix("."))) or not _is_name(name):
        raise ValueError("write what hosts end in and the class that serves them, such as example.com=nginx or *=nginx")
    return IngressClass("" if suffix == "*" else suffix, name)


def parse_controller(text: str) -> tuple[str, Pods]:
    """Read `class=caller`: an ingress class, and a namespace with a label or without, or a network.

    Raises:
        ValueError: It isn't that.
    """
    name, _, caller = text.partition("=")
    try:
        if _is_name(name):
            return name, parse_caller(caller)
    except ValueError:
        pass
    raise ValueError(
        "write a class and from where its controllers call, such as nginx=ingress-nginx or public=192.0.2.0/24"
    )


def find_classes(host: str, classes: Iterable[IngressClass]) -> tuple[str, ...]:
    """Find the classes that serve a host: all those of the longest suffix."""
    serving = [one for one in classes if one.serves(host)]
    longest = max((len(one.suffix) for one in serving), default=0)
    return tuple(dict.fromkeys(one.name for one in serving if len(one.suffix) == longest))


def _is_name(text: str) -> bool:
    return len(text) <= MAX_CLASS_LENGTH and "\n" not in text and bool(re.match(DNS_SUBDOMAIN_PATTERN, text))
