"""The variables by which a container goes out through the web proxy."""

import pytest

from maskinporten_operator.plan.platform import Platform, Webproxy
from maskinporten_operator.plan.webproxy import build_proxy_variables

PROXY = Webproxy("http://webproxy.test:8088", "webproxy.test", 8088)


def test_a_proxy_without_exceptions_names_none():
    variables = build_proxy_variables(PROXY)
    assert variables["NO_PROXY"] == variables["no_proxy"] == ""
    assert "nonProxyHosts" not in variables["JAVA_PROXY_OPTIONS"]


def test_every_variable_but_javas_comes_in_both_cases():
    variables = build_proxy_variables(PROXY)
    assert sorted(variables) == [
        "HTTPS_PROXY", "HTTP_PROXY", "JAVA_PROXY_OPTIONS", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    ]  # fmt: skip
    assert all(variables[name] == variables[name.upper()] for name in ("http_proxy", "https_proxy", "no_proxy"))


def test_java_takes_a_star_for_the_domains_that_others_write_with_a_dot():
    proxy = Webproxy("http://webproxy.test:8088", "webproxy.test", 8088, exclude=("localhost", ".svc", "127.0.0.1"))
    assert build_proxy_variables(proxy)["JAVA_PROXY_OPTIONS"] == (
        "-Dhttp.proxyHost=webproxy.test -Dhttp.proxyPort=8088 -Dhttps.proxyHost=webproxy.test -Dhttps.proxyPort=8088 "
        "-Dhttp.nonProxyHosts=localhost|*.svc|127.0.0.1"
    )


@pytest.mark.parametrize(
    ("name", "proxy", "wanted", "used"),
    [
        ("onprem", PROXY, True, True),
        ("onprem", PROXY, False, False),
        ("onprem", None, True, False),
        ("generic", PROXY, True, True),
        ("gcp", PROXY, True, False),
    ],
)
def test_the_proxy_is_used_where_it_is_wanted_and_there_is_one_but_never_on_gcp(name, proxy, wanted, used):
    assert Platform(name=name, webproxy=proxy).uses_webproxy(wanted=wanted) is used
