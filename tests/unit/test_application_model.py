"""Application: what is accepted, refused, and named because nobody reads it."""

import ipaddress
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskinporten_operator.model.application import (
    APPLICATION_NAME_RULE,
    ENV_NAME_PATTERN,
    HOST_PATTERN,
    IPV4_PATTERN,
    NAME_PATTERN,
    PORT_NAME_PATTERN,
    ApplicationSpec,
    parse_application,
)
from maskinporten_operator.model.declared import find_unread
from maskinporten_operator.model.resources import InvalidSpec
from tests.children import application_body

EVIL = "a" * 50_000
FIELDS = sorted(field.alias or name for name, field in ApplicationSpec.model_fields.items())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "value", "port", "host", "enabled", "x"]), inner, max_size=3)
    ),
    max_leaves=10,
)


def parse(spec, **metadata):
    return parse_application(application_body(spec, **metadata))


def calling(**external):
    return {"accessPolicy": {"outbound": {"external": [external]}}}


def is_accepted(spec):
    return isinstance(parse(spec).spec, ApplicationSpec)


@given(st.dictionaries(st.sampled_from([*FIELDS, "unknown"]), JSON, max_size=5))
def test_nothing_that_a_user_can_write_makes_parsing_raise(spec):
    application = parse(spec)
    assert isinstance(application.spec, ApplicationSpec | InvalidSpec)
    if isinstance(application.spec, InvalidSpec):
        assert application.spec.message.startswith("spec")
    assert all(path.startswith("spec.") for path in application.unread)


@pytest.mark.parametrize("spec", [None, {}, [], "text", 7])
def test_a_spec_that_is_missing_or_no_object_is_no_fault_of_ours(spec):
    application = parse_application(application_body({}) | {"spec": spec})
    assert isinstance(application.spec, InvalidSpec if spec else ApplicationSpec)
    assert application.unread == ()


def test_a_spec_says_what_it_means_when_it_says_nothing():
    spec = parse({}).spec
    assert (spec.image, spec.port, spec.service.port, spec.service.protocol) == (None, 8080, 80, "http")
    assert (spec.replicas.min, spec.webproxy, spec.maskinporten.enabled) == (2, False, False)
    assert spec.strategy.type == "RollingUpdate"


def test_unread_fields_are_named_in_objects_lists_and_lists_in_lists():
    raw = {
        "unknown": {"inner": 1},
        "liveness": {"path": "/", "unknown": 1},
        "env": [{"name": "A"}, {"name": "B", "unknown": 1}],
        "accessPolicy": {"outbound": {"external": [{"ports": [{"port": 1, "unknown": 1}]}]}},
        "maskinporten": {"scopes": {"exposes": [{"consumers": [{"orgno": "1", "unknown": 1}]}]}},
    }
    assert list(find_unread(ApplicationSpec, raw, "spec")) == [
        "spec.unknown",
        "spec.liveness.unknown",
        "spec.env[1].unknown",
        "spec.accessPolicy.outbound.external[0].ports[0].unknown",
        "spec.maskinporten.scopes.exposes[0].consumers[0].unknown",
    ]


def test_what_is_passed_on_whole_is_read_whole():
    raw = {
        "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b", "optional": True}}}],
        "resources": {"limits": {"example.com/device": 1}},
    }
    assert list(find_unread(ApplicationSpec, raw, "spec")) == []


@pytest.mark.parametrize("value", [None])
def test_a_field_that_is_set_to_null_is_not_set(value):
    assert list(find_unread(ApplicationSpec, {"unknown": value, "liveness": value}, "spec")) == []


@pytest.mark.parametrize("spec", [{"env": "text"}, {"env": {"name": 1}}, {"liveness": [1, "a", None]}, {"env": [[1]]}])
def test_the_search_for_unread_fields_bears_with_wrong_types(spec):
    assert isinstance(list(find_unread(ApplicationSpec, spec, "spec")), list)


def test_unread_fields_are_named_in_an_invalid_spec_too():
    application = parse({"port": 0, "unknown": 1})
    assert isinstance(application.spec, InvalidSpec)
    assert application.unread == ("spec.unknown",)


@given(st.ip_addresses(v=4).map(str))
def test_every_address_is_accepted(address):
    assert is_accepted(calling(ipv4=address))


@given(st.from_regex(r"[0-9]{1,4}(\.[0-9]{1,4}){2,4}\n?", fullmatch=True) | st.text("0123456789.", max_size=15))
def test_an_address_is_accepted_exactly_when_it_is_one(text):
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        assert not is_accepted(calling(ipv4=text))
    else:
        assert is_accepted(calling(ipv4=text))


@given(st.from_regex(HOST_PATTERN, fullmatch=True).filter(lambda text: len(text) <= 253 and not text.endswith("\n")))
def test_every_host_of_the_pattern_is_accepted_and_has_no_scheme_port_or_path(host):
    assert is_accepted(calling(host=host))
    assert not set(host) & set(":/@ \n?#")
    assert "*" not in host.removeprefix("*.")


@pytest.mark.parametrize("host", ["a", "api.example.com", "*.example.com", "A-1.b_c", "_dmarc.example.com", "a" * 253])
def test_such_hosts_are_accepted(host):
    assert is_accepted(calling(host=host))


@pytest.mark.parametrize(
    "host",
    ["", "*", "*.", ".a", "a.", "a..b", "-a", "a-", "a.*.b", "a*", "*.*.a", "a\n", "å.no", "[::1]", "a" * 254, "a b"],
)
def test_such_hosts_are_refused(host):
    assert not is_accepted(calling(host=host))


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"env": [{"name": "1A"}]}, "spec.env[0].name"),
        ({"env": [{"name": "A=B"}]}, "spec.env[0].name"),
        ({"envFrom": [{"secret": "A"}]}, "spec.envFrom[0].secret"),
        ({"replicas": {"min": -1}}, "spec.replicas.min"),
        ({"service": {"protocol": "HTTP"}}, "spec.service.protocol"),
        ({"service": {"protocol": "a" * 16}}, "spec.service.protocol"),
        ({"strategy": {"type": "Blue"}}, "spec.strategy.type"),
        ({"liveness": {}}, "spec.liveness.path"),
        ({"image": ""}, "spec.image"),
        (calling(ipv4="192.0.2.7", ports=[{"port": 1, "protocol": "x" * 17}]), "external[0].ports[0].protocol"),
        ({"accessPolicy": {"outbound": {"rules": [{"application": "*a"}]}}}, "rules[0].application"),
        ({"accessPolicy": {"outbound": {"rules": [{"namespace": "a"}]}}}, "rules[0].application"),
    ],
)
def test_a_refusal_names_the_field(spec, path):
    found = parse(spec).spec
    assert isinstance(found, InvalidSpec)
    assert path in found.message


@pytest.mark.parametrize("end", ["!", "\n"])
@pytest.mark.parametrize("start", ["", "*.", EVIL + "."])
@pytest.mark.parametrize("middle", [EVIL, "a." * 25_000, "a-" * 25_000, "1." * 25_000])
def test_no_input_makes_a_pattern_slow(start, middle, end):
    evil = start + middle + end
    began = time.process_time()
    spec = {
        "image": evil,
        "service": {"protocol": evil},
        "env": [{"name": evil}],
        "envFrom": [{"secret": evil}],
        "accessPolicy": {
            "outbound": {
                "external": [{"host": evil}, {"ipv4": evil}],
                "rules": [{"application": evil, "namespace": evil}],
            }
        },
        "maskinporten": {"scopes": {"consumes": [{"name": evil}], "exposes": [{"name": evil, "product": evil}]}},
    }
    assert not is_accepted(spec)
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize("pattern", [HOST_PATTERN, IPV4_PATTERN, NAME_PATTERN, ENV_NAME_PATTERN, PORT_NAME_PATTERN])
def test_a_pattern_is_anchored_and_no_other_than_python_and_the_api_server_know(pattern):
    assert pattern.startswith("^")
    assert pattern.endswith("$")
    assert not re.search(r"\(\?|\\[1-9]", pattern)


@pytest.mark.parametrize(("name", "fits"), [("a" * 63, True), ("a" * 64, False), ("a.b", False), ("a-1", True)])
def test_a_name_fits_where_the_rule_of_the_crd_says_so(name, fits):
    found = parse({}, name=name).spec
    assert isinstance(found, ApplicationSpec) is fits
    assert bool(re.fullmatch(NAME_PATTERN, name) and len(name) <= 63) is fits
    assert fits or found.message.endswith(APPLICATION_NAME_RULE[1])
