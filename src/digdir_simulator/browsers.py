"""Which requests a browser may have sent on behalf of a site that isn't the simulator's own page.

The control API asks for no credentials, so any site that a developer visits could use it through the browser, which
runs on the developer's machine. docs/decisions/0064-control-from-its-own-page-only.md
"""

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

_PRIVATE_DOMAINS = frozenset({"localhost", "test", "internal"})
"""Top-level domains that the public DNS never has: RFC 6761, and ICANN's resolution 2024.07.29.06."""

_OWN = frozenset({"same-origin", "none"})
"""What Sec-Fetch-Site says of a page's own requests, and of an address that was typed."""


def find_objection(headers: Mapping[str, str], own_name: str | None) -> str | None:
    """Say why a request may be another site's, None if it isn't.

    A name in the header Host that an attacker could have registered may be his, pointed at this machine (DNS
    rebinding). Origin and Sec-Fetch-Site are set by browsers alone: a program that sends neither is no browser.

    Args:
        headers: the request's, with names in lower case.
        own_name: the host name that the simulator is known by.
    """
    host = headers.get("host", "")
    if not _is_safe(host, own_name):
        return (
            f"the control API isn't reached by the name {host[:100]!r}, lest other sites use it in a browser: take "
            "localhost or an IP address, or start the simulator with that name in --public-url"
        )
    origin = headers.get("origin")
    foreign = origin is not None and origin.lower() not in {f"http://{host}".lower(), f"https://{host}".lower()}
    if foreign or headers.get("sec-fetch-site", "none") not in _OWN:
        return "the control API doesn't answer other sites in a browser"
    return None


def _is_safe(host: str, own_name: str | None) -> bool:
    """Whether nobody else can have registered the name in a Host header."""
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return False
    domain = name.rpartition(".")[2]
    return name == own_name or "." not in name or domain in _PRIVATE_DOMAINS or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
