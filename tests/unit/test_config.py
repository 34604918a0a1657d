"""The configuration: from environment or flags, all faults told at once, no value shown."""

import json
import os
import re
import ssl
from datetime import timedelta

import certifi
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maskinporten_operator import cli, config
from maskinporten_operator.assembly.parameters import build_registration_settings
from maskinporten_operator.config import ENV_PREFIX, SELECTOR_PATTERN, Config, ConfigError, load_config
from tests.certificates import authority, private_pem, rsa_key
from tests.unit.fakes import private_jwk

PRIVATE = private_jwk(1).serialize()


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch):
    for name in os.environ:
        if name.upper().startswith(ENV_PREFIX):
            monkeypatch.delenv(name)


@pytest.fixture
def jwk_file(tmp_path):
    path = tmp_path / "admin.jwk"
    path.write_text("{}")
    return path


@pytest.fixture
def load(jwk_file):
    def load(**changes):
        needed = {
            "cluster_name": "some-cluster",
            "digdir_base_url": "https://api.test",
            "maskinporten_well_known_url": "https://maskinporten.test/.well-known/oauth-authorization-server",
            "admin_client_id": "some-id",
            "admin_jwk_file": str(jwk_file),
        }
        return load_config(**needed | changes)

    return load


def fault(load, **changes):
    with pytest.raises(ConfigError) as caught:
        load(**changes)
    return str(caught.value)


# Leader election


def test_the_leases_namespace_is_by_default_the_pods_own(load, tmp_path, monkeypatch):
    file = tmp_path / "namespace"
    file.write_text("some-namespace\n")
    monkeypatch.setattr(config, "OWN_NAMESPACE_FILE", file)

    assert load(leader_election="true").lease_namespace == "some-namespace"
    assert load(leader_election="true", lease_namespace="another").lease_namespace == "another"
    assert load().lease_namespace is None


def test_outside_of_a_pod_the_leases_namespace_is_needed(load, tmp_path, monkeypatch):
    monkeypatch.setattr(config, "OWN_NAMESPACE_FILE", tmp_path / "none")

    assert "LEASE_NAMESPACE (or --lease-namespace): is needed" in fault(load, leader_election="true")


@pytest.mark.parametrize("change", [{"lease_name": "A_b"}, {"lease_name": "-"}, {"lease_namespace": "a.b"}])
def test_a_lease_has_names_that_kubernetes_takes(load, change):
    assert "small letters" in fault(load, **change)


# Values


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("30m", 1800),
        ("12h", 43200),
        ("2d", 172800),
        ("1500ms", 1.5),
        ("1.5", 1.5),
        ("0.5h", 1800),
        (" 90s ", 90),
        (90, 90),
    ],
)
def test_a_duration_is_seconds_or_has_a_unit(load, written, seconds):
    assert load(key_grace=written).key_grace == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "written", ["h", "-5", "5 m", "1h30m", "5w", "1e3", "inf", "nan", "٣s", "PT5M", "5M", "0x5", "1..5", True]
)
def test_any_other_duration_is_refused_with_an_example(load, written):
    assert "such as 90s, 30m or 12h" in fault(load, key_grace=written)


@pytest.mark.parametrize("written", ["999999999d", "99999999999999999999d", "9" * 400 + "s"])
def test_a_duration_beyond_all_use_is_refused(load, written):
    assert f"{ENV_PREFIX}KEY_GRACE" in fault(load, key_grace=written)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text())
def test_any_text_is_a_duration_or_a_fault_of_the_configuration(load, text):
    try:
        grace = load(key_grace=text).key_grace
    except ConfigError:
        return
    assert timedelta(0) <= grace


def test_the_time_between_resyncs_and_looks_at_grants_is_at_least_a_second(load):
    assert "at least a second" in fault(load, resync_interval="500ms")
    assert load(resync_interval="1s").resync_interval == timedelta(seconds=1)
    assert "at least a second" in fault(load, grant_max_age="500ms")
    assert load(grant_max_age="1s").grant_max_age == timedelta(seconds=1)


@pytest.mark.parametrize("address", ["0.0.0.0:8080", ":8080", "localhost:1", "[::1]:65535", "[::]:0", ""])
def test_an_address_is_host_and_port_or_nothing(load, address):
    assert load(metrics_address=address).metrics_address == address


@pytest.mark.parametrize(
    "address", ["8080", "host", "host:", "::1:8080", "host:port", "host:65536", "host:99999", "a b:1"]
)
def test_any_other_address_is_refused_with_an_example(load, address):
    assert "write host:port, such as 0.0.0.0:8080" in fault(load, health_address=address)


def test_an_empty_address_in_the_environment_serves_nothing_too(load, monkeypatch):
    monkeypatch.setenv(f"{ENV_PREFIX}METRICS_ADDRESS", "")

    assert load().metrics_address == ""


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("https://api.test", "https://api.test/api/v1"),
        ("https://api.test/", "https://api.test/api/v1"),
        ("https://api.test/api/v1", "https://api.test/api/v1"),
        ("https://api.test/api/v1/", "https://api.test/api/v1/"),
        ("https://api.test/behind", "https://api.test/behind/api/v1"),
        ("https://api.test/api/v10", "https://api.test/api/v10/api/v1"),
    ],
)
def test_the_api_path_is_appended_once(load, written, url):
    assert str(load(digdir_base_url=written).digdir_base_url) == url


@pytest.mark.parametrize("written", ["a,b", "a b", " a , b ", "a,b,", ",a\nb", "a,,b"])
def test_a_list_is_written_with_commas_or_spaces(load, written):
    assert load(namespaces=written).namespaces == ("a", "b")


@pytest.mark.parametrize("written", ["", " ", ",", None])
def test_an_empty_list_is_the_default(load, written):
    assert load(namespaces=written).namespaces == ()


@pytest.mark.parametrize("name", ["a", "team-a", "0", "9lives", "a" * 63])
def test_a_namespace_is_a_dns_label(load, name):
    assert load(namespaces=f"{name},other").namespaces == (name, "other")


@pytest.mark.parametrize("name", ["Team", "a.b", "-a", "a-", "a_b", "å", "a/b", "*", "..", "a" * 64])
def test_a_namespace_that_no_cluster_can_have_is_refused(load, name):
    assert f"{ENV_PREFIX}NAMESPACES (or --namespaces): " in fault(load, namespaces=f"fine,{name}")


@pytest.mark.parametrize("name", ["a:b", "", "a b", "å", "x" * 64])
def test_a_cluster_name_fits_the_mark(load, name):
    assert f"{ENV_PREFIX}CLUSTER_NAME" in fault(load, cluster_name=name)


def test_the_environment_is_read_and_flags_win(load, monkeypatch):
    monkeypatch.setenv(f"{ENV_PREFIX}WORKERS", "3")
    monkeypatch.setenv(f"{ENV_PREFIX}CLIENT_NAME", "Of the environment")

    config = load(client_name="Of the flag")

    assert (config.workers, config.client_name) == (3, "Of the flag")


def test_an_empty_variable_is_as_one_that_isnt_set(load, monkeypatch):
    monkeypatch.setenv(f"{ENV_PREFIX}WORKERS", "")
    monkeypatch.setenv(f"{ENV_PREFIX}DEFAULT_CLIENT_SCOPE", "")

    assert (load().workers, load().default_client_scope) == (24, None)


def test_a_configuration_cant_be_changed(load):
    with pytest.raises(ValueError, match="frozen"):
        load().workers = 5


@pytest.mark.parametrize("scopes", ["skatt:[a-z]", "skatt:?", 'skatt:"'])
def test_a_forbidden_scope_has_a_scopes_characters_or_asterisks(load, scopes):
    assert f"{ENV_PREFIX}FORBIDDEN_SCOPES (or --forbidden-scopes): write scopes" in fault(load, forbidden_scopes=scopes)
    assert load(forbidden_scopes="skatt:*, ks:fiks").forbidden_scopes == ("skatt:*", "ks:fiks")


def test_the_scopes_of_the_operators_own_token_are_forbidden_to_others(load):
    settings = build_registration_settings(load(admin_scopes="some:admin", forbidden_scopes="ks:*"))

    assert [one for one in ("some:admin", "ks:fiks", "skatt:a") if settings.forbids(one)] == ["some:admin", "ks:fiks"]


@pytest.mark.parametrize("scope", ["some:admin", "ks:fiks", "idporten:dcr.write", "IDPORTEN:scopes.write"])
def test_what_no_resource_may_consume_is_no_clients_default_either(load, scope):
    settings = {"admin_scopes": "some:admin", "forbidden_scopes": "ks:*"}

    message = fault(load, default_client_scope=scope, **settings)

    assert f"{ENV_PREFIX}DEFAULT_CLIENT_SCOPE (or --default-client-scope): is a scope that no resource may" in message
    assert load(default_client_scope="skatt:a", **settings).default_client_scope == "skatt:a"


@pytest.mark.parametrize("name", ["a\nb", "ab\n", "a\x1bb", "a\u202eb"])
def test_the_name_of_clients_is_one_line_without_control_characters(load, name):
    assert f"{ENV_PREFIX}CLIENT_NAME (or --client-name): " in fault(load, client_name=name)


# Applications


@pytest.mark.parametrize(("written", "wanted"), [("true", True), ("false", False), ("", False)])
def test_applications_are_managed_only_where_somebody_asks_for_it(load, monkeypatch, written, wanted):
    monkeypatch.setenv(f"{ENV_PREFIX}APPLICATIONS", written)

    assert load().applications is wanted


def test_all_that_applications_need_has_a_default_but_on_premises(load):
    config = load(applications=True)

    assert (config.workloads, config.platform, config.egress, config.run_as_user) == (True, "generic", "auto", 1069)
    assert (config.inbound, config.inbound_always) == ("auto", ("nais-system",))
    assert (config.ingress_classes, config.ingress_controllers) == ((), ())
    assert (config.workload_defaults, config.service_accounts, config.image_pull_secrets) == ("auto", False, ())
    assert (config.maskinporten_hosts, config.maskinporten_cidrs) == ((), ())
    assert (config.webproxy_address, config.webproxy_cidrs) == (None, ())
    assert config.webproxy_exclude == ("localhost", "127.0.0.1", ".local", ".svc")


def test_on_premises_applications_need_the_proxy(load):
    text = fault(load, applications=True, platform="onprem")

    assert f"{ENV_PREFIX}WEBPROXY_ADDRESS (or --webproxy-address): is needed where PLATFORM is onprem" in text
    assert load(applications=True, platform="onprem", webproxy_address="http://proxy.test:8088").webproxy_address


@pytest.mark.parametrize("changes", [{"applications": False}, {"platform": "gcp"}, {"platform": "generic"}], ids=str)
def test_anywhere_else_and_without_applications_no_proxy_is_needed(load, changes):
    assert load(**{"applications": True, "platform": "onprem"} | changes).webproxy_address is None


def test_an_empty_proxy_in_the_environment_is_none(load, monkeypatch):
    monkeypatch.setenv(f"{ENV_PREFIX}WEBPROXY_ADDRESS", "")

    assert load().webproxy_address is None


@pytest.mark.parametrize(
    "url", ["http://proxy.test:8088", "http://proxy.test:8088/", "https://proxy.test", "http://[2001:db8::1]:3128"]
)
def test_a_proxy_is_a_url_with_a_host(load, url):
    assert str(load(webproxy_address=url).webproxy_address).rstrip("/") == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    ["http://user:very-private@proxy.test:8088", "http://very-private@proxy.test", "http://proxy.test/very-private"],
)
def test_a_proxy_with_a_password_or_a_path_is_refused_and_not_shown(load, url):
    text = fault(load, webproxy_address=url)

    assert f"{ENV_PREFIX}WEBPROXY_ADDRESS (or --webproxy-address): write http://host:port" in text
    assert "very-private" not in text


@pytest.mark.parametrize("url", ["proxy.test:8088", "proxy", "ftp://proxy.test", "http://", "http://proxy.test:port"])
def test_a_proxy_that_is_no_http_url_is_refused(load, url):
    assert f"{ENV_PREFIX}WEBPROXY_ADDRESS (or --webproxy-address): " in fault(load, webproxy_address=url)


def test_hosts_are_names_or_addresses(load):
    hosts = ("maskinporten.no", "test.maskinporten.no", "192.0.2.1")

    assert load(maskinporten_hosts=" ".join(hosts)).maskinporten_hosts == hosts


@pytest.mark.parametrize(
    "host",
    ["https://maskinporten.no", "maskinporten.no:443", "maskinporten.no/", "*.maskinporten.no", "-a", "a-", "a_b"],
)
def test_a_host_with_a_scheme_a_port_or_a_path_is_refused(load, host):
    text = fault(load, maskinporten_hosts=f"maskinporten.no,{host}")

    assert f"{ENV_PREFIX}MASKINPORTEN_HOSTS (or --maskinporten-hosts): write names of hosts" in text


@pytest.mark.parametrize(
    "server", ["kube-system:0", "kube-system:65536", "Kube", "dns/app", "dns/=x", "*", "a.b", "a:b"]
)
def test_a_dns_server_that_is_none_is_refused(load, server):
    assert f"{ENV_PREFIX}EGRESS_DNS (or --egress-dns): " in fault(load, egress_dns=f"kube-system {server}")


@pytest.mark.parametrize("setting", ["maskinporten_cidrs", "webproxy_cidrs", "egress_always"])
def test_a_network_is_written_with_its_length_and_an_address_is_one_of_its_own(load, setting):
    config = load(**{setting: "192.0.2.0/24, 2001:DB8::/32, 192.0.2.1"})

    assert getattr(config, setting) == ("192.0.2.0/24", "2001:db8::/32", "192.0.2.1/32")


@pytest.mark.parametrize("setting", ["maskinporten_cidrs", "webproxy_cidrs", "egress_always"])
@pytest.mark.parametrize("cidr", ["192.0.2.0/33", "192.0.2.1/24", "maskinporten.no", "192.0.2/24", "/24", "::/129"])
def test_a_network_that_is_none_is_refused(load, setting, cidr):
    text = fault(load, **{setting: f"192.0.2.0/24 {cidr}"})

    assert f"{ENV_PREFIX}{setting.upper()} (or --{setting.replace('_', '-')}): write networks" in text


@pytest.mark.parametrize("setting", ["platform", "egress", "workload_defaults", "inbound"])
def test_a_place_and_a_way_out_that_nobody_knows_are_refused(load, setting):
    assert f"{ENV_PREFIX}{setting.upper()} " in fault(load, **{setting: "elsewhere"})


CLASSES = {"ingress_classes": "intern.test=inner *=outer"}


@pytest.mark.parametrize(
    "settings",
    [
        {"applications": True, "platform": "gcp", **CLASSES, "ingress_controllers": "outer=a"},
        {"applications": True, "inbound": "networkpolicy", **CLASSES, "ingress_controllers": "outer=a"},
    ],
)
def test_where_callers_are_restricted_each_ingress_class_needs_the_place_of_its_controllers(load, settings):
    text = fault(load, **settings)
    assert f"{ENV_PREFIX}INGRESS_CONTROLLERS (or --ingress-controllers): must name those of inner: callers" in text
    assert "must name those of inner, outer" in fault(load, **{**settings, "ingress_controllers": ""})
    assert load(**{**settings, "ingress_controllers": "outer=a inner=b"}).ingress_classes == (
        "intern.test=inner",
        "*=outer",
    )


@pytest.mark.parametrize(
    "settings",
    [{"applications": True}, {"platform": "gcp"}, {"applications": True, "platform": "gcp", "inbound": "none"}],
)
def test_where_everybody_may_call_controllers_need_not_be_named(load, settings):
    assert load(**CLASSES, **settings).ingress_controllers == ()


@pytest.mark.parametrize("user", ["0", "-1", "2147483648", "root"])
def test_applications_never_run_as_root(load, user):
    assert f"{ENV_PREFIX}RUN_AS_USER " in fault(load, run_as_user=user)


def test_no_user_is_chosen_where_the_setting_is_empty(load, monkeypatch):
    assert load().run_as_user == 1069
    monkeypatch.setenv(f"{ENV_PREFIX}RUN_AS_USER", "")
    assert load().run_as_user is None


def test_every_fault_about_applications_is_named_in_one_message_with_the_others(load):
    wrong = {
        "workers": "many",
        "workloads": "perhaps",
        "egress": "everywhere",
        "maskinporten_hosts": "https://maskinporten.no",
        "maskinporten_cidrs": "maskinporten.no",
        "webproxy_cidrs": "proxy.test",
        "run_as_user": 0,
        "image_pull_secrets": "https://registry.test",
        "inbound_always": "everybody!",
        "ingress_classes": "nginx",
        "ingress_controllers": "nginx",
    }

    lines = fault(load, applications=True, platform="onprem", **wrong).splitlines()

    assert len(lines) == len(wrong) + 2
    for name in (*wrong, "webproxy_address"):
        assert len([line for line in lines if f"{ENV_PREFIX}{name.upper()} " in line]) == 1


# The operator's own credentials


@pytest.fixture
def certificate_files(tmp_path):
    files = {"admin_cert_chain_file": tmp_path / "chain.pem", "admin_key_file": tmp_path / "key.pem"}
    for path in files.values():
        path.touch()
    return {name: str(path) for name, path in files.items()}


def credential_faults(load, **changes):
    """Give the faults of the credentials' settings, each without its name."""
    lines = fault(load, **changes).splitlines()[1:]
    assert all(line.startswith(f"  {ENV_PREFIX}ADMIN_") for line in lines)
    return {line.split(" ")[2].removeprefix(ENV_PREFIX): line.split(") ", 1)[-1].split("): ")[-1] for line in lines}


def test_a_certificate_serves_instead_of_a_registered_key(load, certificate_files):
    config = load(**certificate_files, admin_jwk_file=None)

    assert (str(config.admin_cert_chain_file), str(config.admin_key_file)) == tuple(certificate_files.values())
    assert config.admin_jwk_file is None


def test_an_empty_variable_leaves_the_other_way(load, certificate_files, monkeypatch):
    monkeypatch.setenv(f"{ENV_PREFIX}ADMIN_JWK_FILE", "")

    assert load(**certificate_files, admin_jwk_file=None).admin_jwk_file is None


def test_without_credentials_both_ways_are_told(load):
    faults = credential_faults(load, admin_jwk_file=None)

    assert list(faults) == ["ADMIN_JWK_FILE"]
    assert "is missing: " in faults["ADMIN_JWK_FILE"]
    assert "instead, ADMIN_CERT_CHAIN_FILE and ADMIN_KEY_FILE" in faults["ADMIN_JWK_FILE"]


def test_two_ways_at_once_are_refused(load, certificate_files):
    faults = credential_faults(load, **certificate_files)

    assert list(faults) == ["ADMIN_JWK_FILE"]
    assert "can't be set beside ADMIN_CERT_CHAIN_FILE and ADMIN_KEY_FILE: unset it, or those" in str(faults)


def test_a_certificate_without_its_key_is_refused(load, certificate_files):
    certificate_files["admin_key_file"] = ""
    faults = credential_faults(load, **certificate_files, admin_jwk_file=None)

    assert list(faults) == ["ADMIN_KEY_FILE"]
    assert "is needed with ADMIN_CERT_CHAIN_FILE" in faults["ADMIN_KEY_FILE"]


def test_a_key_without_its_certificate_is_refused(load, certificate_files):
    del certificate_files["admin_cert_chain_file"]
    faults = credential_faults(load, **certificate_files, admin_jwk_file=None)

    assert list(faults) == ["ADMIN_KEY_FILE"]
    assert "set that too, or ADMIN_JWK_FILE alone" in faults["ADMIN_KEY_FILE"]


@pytest.mark.parametrize("name", ["admin_cert_chain_file", "admin_key_file"])
def test_half_a_certificate_beside_a_key_is_refused(load, certificate_files, name):
    faults = credential_faults(load, **{name: certificate_files[name]})

    assert set(faults) == {"ADMIN_KEY_FILE", "ADMIN_JWK_FILE"}


@pytest.mark.parametrize("name", ["admin_cert_chain_file", "admin_key_file"])
def test_a_file_that_isnt_one_is_the_only_fault_that_is_told(load, certificate_files, tmp_path, name):
    for path in (tmp_path, tmp_path / "absent"):
        changes = certificate_files | {name: str(path)}
        faults = credential_faults(load, **changes, admin_jwk_file=None)

        assert faults == {name.upper(): "there is no such file"}


ROTATION = {"admin_key_rotation": "true", "admin_key_secret": "operator/admin/jwk.json"}


def test_a_key_of_a_file_can_be_renewed_after_ninety_days_by_default(load):
    config = load(**ROTATION)

    assert (config.admin_key_rotation, config.admin_key_max_age) == (True, timedelta(days=90))
    assert load().admin_key_rotation is False


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"admin_key_secret": None}, "is needed where ADMIN_KEY_ROTATION is true"),
        ({"admin_key_secret": "admin/jwk.json"}, "write namespace/name/entry"),
        ({"admin_key_max_age": "1h"}, "must be at least a day"),
        ({"admin_key_max_age": "1d"}, "must be less than ADMIN_KEY_MAX_AGE"),
        ({"admin_jwk_file": None, "admin_signer": "ARN", "admin_key_id": "a"}, "can't be true beside ADMIN_SIGNER"),
    ],
)
def test_a_renewal_that_cant_be_is_refused_at_the_start(load, changes, said):
    changes = {name: ARN if value == "ARN" else value for name, value in changes.items()}

    assert said in fault(load, **ROTATION | changes)


def test_a_certificate_isnt_renewed_by_the_operator(load, certificate_files):
    assert "can't renew a certificate" in fault(load, **certificate_files, **ROTATION, admin_jwk_file=None)


ARN = "arn:aws:kms:eu-north-1:123456789012:key/0f0b3a46-5f60-4bd0-a5a3-b9a6a4b4c1f2"


def test_a_key_that_another_holds_serves_by_its_id_or_by_a_certificate(load, certificate_files):
    chain = certificate_files["admin_cert_chain_file"]

    assert load(admin_signer=ARN, admin_key_id="some-kid", admin_jwk_file=None).admin_signer == ARN
    assert str(load(admin_signer=ARN, admin_cert_chain_file=chain, admin_jwk_file=None).admin_cert_chain_file) == chain


@pytest.mark.parametrize(
    ("changes", "setting", "said"),
    [
        ({"admin_jwk_file": None}, "ADMIN_CERT_CHAIN_FILE", "is needed with ADMIN_SIGNER, or ADMIN_KEY_ID"),
        ({"admin_key_id": "a"}, "ADMIN_JWK_FILE", "can't be set beside ADMIN_SIGNER"),
        ({"admin_signer": "alias/admin", "admin_key_id": "a"}, "ADMIN_SIGNER", "write a key's own name"),
        ({"admin_signer": "pkcs11:token=a", "admin_key_id": "a"}, "ADMIN_SIGNER", "a PKCS#11 URI must have"),
        ({"admin_signer": None, "admin_key_id": "a"}, "ADMIN_KEY_ID", "is of use with ADMIN_SIGNER only"),
    ],
)
def test_half_a_signer_and_one_beside_another_way_are_refused(load, changes, setting, said):
    faults = credential_faults(load, **{"admin_signer": ARN} | changes)

    assert said in faults[setting]


@pytest.mark.parametrize("name", ["admin_key_file", "admin_cert_chain_file"])
def test_a_signer_has_one_key_and_one_thing_that_tells_whose_it_is(load, certificate_files, name):
    changes = {"admin_signer": ARN, "admin_key_id": "a", "admin_jwk_file": None, name: certificate_files[name]}

    assert list(credential_faults(load, **changes)) == [name.upper()]


def test_a_wrong_chain_and_a_missing_key_are_told_together(load, tmp_path):
    changes = {"admin_cert_chain_file": str(tmp_path), "admin_jwk_file": None}

    assert set(credential_faults(load, **changes)) == {"ADMIN_CERT_CHAIN_FILE", "ADMIN_KEY_FILE"}


# Faults


def test_every_missing_value_is_named_at_once_with_what_it_is_for():
    with pytest.raises(ConfigError) as caught:
        load_config()

    required = [name for name, field in Config.model_fields.items() if field.is_required()]
    assert required == ["cluster_name", "digdir_base_url", "maskinporten_well_known_url", "admin_client_id"]
    for name in (*required, "admin_jwk_file"):
        assert f"{ENV_PREFIX}{name.upper()} (or --{name.replace('_', '-')}) is missing: " in str(caught.value)


def test_wrong_and_missing_values_are_told_together(load):
    text = fault(load, cluster_name="a:b", workers="many", log_level="LOUD", key_grace="soon", admin_client_id=None)

    assert len(text.splitlines()) == 6
    for name in ("CLUSTER_NAME", "WORKERS", "LOG_LEVEL", "KEY_GRACE", "ADMIN_CLIENT_ID"):
        assert text.count(ENV_PREFIX + name) == 1


@pytest.mark.parametrize(
    "name",
    [
        "cluster_name",
        "digdir_base_url",
        "admin_cert_chain_file",
        "admin_key_file",
        "admin_jwk_file",
        "ca_bundle",
        "key_grace",
        "workers",
        "log_format",
        "namespaces",
        "applications",
        "workloads",
        "platform",
        "egress",
        "maskinporten_hosts",
        "maskinporten_cidrs",
        "webproxy_address",
        "webproxy_cidrs",
        "egress_dns",
        "egress_always",
        "run_as_user",
        "image_pull_secrets",
        "inbound_always",
        "ingress_classes",
        "ingress_controllers",
    ],
)
def test_a_key_written_where_it_doesnt_belong_is_not_shown(load, name):
    text = fault(load, **{name: PRIVATE})

    assert f"{ENV_PREFIX}{name.upper()}" in text
    assert not [member for member in json.loads(PRIVATE).values() if len(member) > 10 and member in text]


def test_a_file_that_isnt_there_is_said(load, tmp_path):
    assert f"{ENV_PREFIX}ADMIN_JWK_FILE (or --admin-jwk-file): there is no such file" in fault(
        load, admin_jwk_file=str(tmp_path / "absent")
    )
    assert "there is no such file" in fault(load, ca_bundle=str(tmp_path))


@pytest.mark.parametrize("content", ["", "{}", "no certificates", PRIVATE, "-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_file_without_certificates_is_no_ca_bundle(load, tmp_path, content):
    path = tmp_path / "ca.pem"
    path.write_text(content)

    assert f"{ENV_PREFIX}CA_BUNDLE (or --ca-bundle): the file holds no certificates" in fault(load, ca_bundle=str(path))


def test_a_file_with_certificates_is_a_ca_bundle(load):
    bundle = ssl.get_default_verify_paths().cafile or certifi.where()

    assert str(load(ca_bundle=bundle).ca_bundle) == bundle


# What looks like a setting and isn't one


@pytest.mark.parametrize("name", ["WORKER", "DIGDIR_URL", "", "maskinporten_workers", "METRICS_PORT", "SERVICE"])
def test_a_variable_with_our_prefix_that_is_no_setting_is_refused(load, monkeypatch, name):
    monkeypatch.setenv(ENV_PREFIX + name, "secret-value")

    text = fault(load)

    assert f"{ENV_PREFIX}{name}: there is no such setting" in text
    assert "secret-value" not in text


def test_unknown_variables_are_told_together_with_all_other_faults(load, monkeypatch):
    monkeypatch.setenv(f"{ENV_PREFIX}WORKER", "3")
    monkeypatch.setenv(f"{ENV_PREFIX}NAMESPACE", "a")

    lines = fault(load, workers="many").splitlines()

    assert len(lines) == 4
    for name, line in zip(("NAMESPACE:", "WORKER:", "WORKERS "), lines[1:], strict=True):
        assert ENV_PREFIX + name in line


def test_a_setting_in_small_letters_is_one(load, monkeypatch):
    monkeypatch.setenv(f"{ENV_PREFIX.lower()}workers", "3")

    assert load().workers == 3


@pytest.mark.parametrize(
    "name",
    [
        "SERVICE_HOST",
        "SERVICE_PORT",
        "SERVICE_PORT_METRICS",
        "PORT",
        "PORT_8080_TCP",
        "PORT_8080_TCP_PROTO",
        "PORT_8080_TCP_PORT",
        "PORT_8080_TCP_ADDR",
        "PORT_53_UDP",
    ],
)
def test_what_kubernetes_tells_of_a_service_of_our_name_is_passed_over(load, monkeypatch, name):
    monkeypatch.setenv(ENV_PREFIX + name, "tcp://10.0.0.1:8080")

    assert load().cluster_name == "some-cluster"


def test_variables_of_others_are_passed_over(load, monkeypatch):
    monkeypatch.setenv("MASKINPORTEN_CLIENT_ID", "some-id")
    monkeypatch.setenv("MASKINPORTEN_OPERATORS", "2")

    assert load().cluster_name == "some-cluster"


# The command line


def flags(jwk_file, **changes):
    values = {
        "cluster-name": "some-cluster",
        "digdir-base-url": "https://api.test",
        "maskinporten-well-known-url": "https://maskinporten.test/",
        "admin-client-id": "some-id",
        "admin-jwk-file": str(jwk_file),
    } | changes
    return ["run", *(f"--{name}={value}" for name, value in values.items())]


def test_a_configuration_that_cant_be_used_ends_with_code_2_and_one_message():
    result = CliRunner().invoke(cli.main, ["run", "--workers", "many"])

    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Error: the configuration can't be used:\n")
    assert result.stderr.count("Error") == 1
    assert f"{ENV_PREFIX}WORKERS" in result.stderr
    assert f"{ENV_PREFIX}CLUSTER_NAME" in result.stderr


def test_an_admin_key_that_cant_be_used_ends_with_code_2_before_anything_is_touched(jwk_file, monkeypatch):
    jwk_file.write_text(json.dumps({"kty": "RSA", "kid": "k", "d": "very-private"}))
    monkeypatch.setattr("maskinporten_operator.logs.configure_logs", lambda *_: None)
    # To call it would be a fault.
    monkeypatch.setattr("maskinporten_operator.assembly.parts.load_configuration", None)

    result = CliRunner().invoke(cli.main, flags(jwk_file))

    assert result.exit_code == 2
    assert result.stderr == (
        f"Error: the configuration can't be used:\n  {jwk_file} holds no private RSA JWK with a kid\n"
    )


def test_a_certificate_of_another_key_ends_with_code_2_before_anything_is_touched(tmp_path, monkeypatch):
    chain_file, key_file = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain_file.write_text(authority().issue().chain_pem)
    key_file.write_text(private_pem(rsa_key(2)))
    monkeypatch.setattr("maskinporten_operator.logs.configure_logs", lambda *_: None)
    # To call it would be a fault.
    monkeypatch.setattr("maskinporten_operator.assembly.parts.load_configuration", None)
    files = {"admin-jwk-file": "", "admin-cert-chain-file": str(chain_file), "admin-key-file": str(key_file)}

    result = CliRunner().invoke(cli.main, flags("", **files))

    assert result.exit_code == 2
    assert f"  the key in {key_file} isn't that of the first certificate in {chain_file}: " in result.stderr
    assert "Traceback" not in result.stderr


def test_every_setting_is_an_option_that_help_describes():
    text = CliRunner().invoke(cli.main, ["run", "--help"], terminal_width=200).output

    for name in Config.model_fields:
        assert f"--{name.replace('_', '-')}" in text
    assert text.count("[required]") == 4
    assert "[default: 1800s]" in text


# Namespaces by labels


@pytest.mark.parametrize(
    "written",
    [
        "team",
        "!team",
        "team=a",
        "team==a,env!=prod",
        "example.org/team in (a, b), !ignored",
        "team notin (a)",
        "env=",
        "team in (a,b),env=dev",
    ],
)
def test_a_selector_is_what_kubectl_takes(load, written):
    assert load(namespace_selector=written).namespace_selector == written


@pytest.mark.parametrize(
    "written", ["=a", "team in a", "team in (a", "team>1", "a b", "team=a,,b", "team=a,", "a" * 9 + "!"]
)
def test_anything_else_is_refused_with_an_example(load, written):
    assert "write a label selector, such as" in fault(load, namespace_selector=written)


def test_namespaces_by_name_and_by_labels_exclude_each_other(load):
    assert "can't be set beside NAMESPACES" in fault(load, namespaces="team", namespace_selector="team=a")


@given(st.text(alphabet="ab=!(), in./-", max_size=60))
def test_no_selector_takes_long_to_check(text):
    re.fullmatch(SELECTOR_PATTERN, text)
