"""The variables by which a container goes out through the web proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maskinporten_operator.plan.platform import Webproxy


def build_proxy_variables(proxy: Webproxy) -> dict[str, str]:
    """Build them in both cases, since libraries differ in which they read, and Java's own options."""
    variables = {"HTTP_PROXY": proxy.url, "HTTPS_PROXY": proxy.url, "NO_PROXY": ",".join(proxy.exclude)}
    lower = {name.lower(): value for name, value in variables.items()}
    return {**variables, **lower, "JAVA_PROXY_OPTIONS": _build_java_options(proxy)}


def _build_java_options(proxy: Webproxy) -> str:
    """Java has a host and a port for each protocol, `|` between exceptions, and `*` where others have a dot."""
    options = [
        f"-D{scheme}.{option}" for scheme in ("http", "https")
        for option in (f"proxyHost={proxy.host}", f"proxyPort={proxy.port}")
    ]  # fmt: skip
    if proxy.exclude:
        options.append("-Dhttp.nonProxyHosts=" + "|".join(f"*{one}" if one[0] == "." else one for one in proxy.exclude))
    return " ".join(options)
