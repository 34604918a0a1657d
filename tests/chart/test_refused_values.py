"""Wrong values are refused before anything is installed, in words that say where and what."""

import re

import pytest

NOT_A_WORD = {"settings": {"platform": "aws"}}
REFUSED_BY_THE_SCHEMA = {
    # value: what is wrong with it, where it is said to be, and what is said
    "a name that isn't there": ({"replicaCount": 2}, "", "additional properties 'replicaCount' not allowed"),
    "a setting that isn't there": ({"settings": {"clustername": "a"}}, "/settings", "'clustername' not allowed"),
    "a setting that is null": (
        {"settings": {"podMonitors": None, "ingressClasses": None}},
        "/settings",
        "missing properties 'ingressClasses', 'podMonitors'",
    ),
    "a name within a record": ({"image": {"name": "a"}}, "/image", "additional properties 'name' not allowed"),
    "a cluster's name with a space": (
        {"settings": {"clusterName": "my cluster"}},
        "/settings/clusterName",
        "letters digits dots and hyphens",
    ),
    "a cluster's name that is too long": ({"settings": {"clusterName": "a" * 64}}, "/settings/clusterName", "63"),
    "an address without a scheme": (
        {"settings": {"digdirBaseUrl": "api.samarbeid.digdir.no"}},
        "/settings/digdirBaseUrl",
        "a URL with http or https",
    ),
    "another environment": ({"environment": "prod"}, "/environment", "must be one of 'test', 'production'"),
    "another platform": (NOT_A_WORD, "/settings/platform", "must be one of 'gcp', 'onprem', 'generic'"),
    "another backend": ({"settings": {"egress": "calico"}}, "/settings/egress", "must be one of 'auto'"),
    "another log level": ({"settings": {"logLevel": "info"}}, "/settings/logLevel", "must be one of 'DEBUG'"),
    "another policy of deletion": (
        {"settings": {"deletionPolicy": "Keep"}},
        "/settings/deletionPolicy",
        "must be one of 'Retain', 'Delete'",
    ),
    "a duration in words": (
        {"settings": {"keyGrace": "1 day"}},
        "/settings/keyGrace",
        "seconds or a number with a unit such as 90s or 30m",
    ),
    "a negative duration": ({"settings": {"listLag": -1}}, "/settings/listLag", "got -1, want 0"),
    "an interval of nothing": ({"settings": {"resyncInterval": "0s"}}, "/settings/resyncInterval", "at least a second"),
    "an interval of next to nothing": ({"settings": {"grantMaxAge": "100ms"}}, "/settings/grantMaxAge", "a second"),
    "a port beyond the last": (
        {"settings": {"metricsAddress": "0.0.0.0:65536"}},
        "/settings/metricsAddress",
        "host and port",
    ),
    "a password for a proxy": ({"proxy": {"url": "http://u:p@proxy.example"}}, "/proxy/url", "with no password"),
    "a path of a proxy": (
        {"settings": {"webproxyAddress": "http://proxy.example/path"}},
        "/settings/webproxyAddress",
        "a URL without a path",
    ),
    "a network that can't be": (
        {"networkPolicy": {"apiServer": {"cidrs": ["999.1.1.1/8"]}}},
        "/networkPolicy/apiServer/cidrs/0",
        "an address a slash and a number of bits",
    ),
    "more bits than there are": (
        {"settings": {"webproxyCidrs": ["10.0.0.0/33"]}},
        "/settings/webproxyCidrs/0",
        "an address a slash and a number of bits",
    ),
    "a name that can't be": ({"nameOverride": "My_Op"}, "/nameOverride", "a letter then small letters digits"),
    "a name that begins with a digit": ({"fullnameOverride": "9op"}, "/fullnameOverride", "a letter then small"),
    "a variable without a name": ({"extraEnv": [{"value": "a"}]}, "/extraEnv/0", "missing property 'name'"),
    "a variable that is a switch": (
        {"extraEnv": [{"name": "A", "value": True}]},
        "/extraEnv/0/value",
        "got boolean, want string",
    ),
    "no workers": ({"settings": {"workers": 0}}, "/settings/workers", "minimum: got 0, want 1"),
    "too many workers": ({"settings": {"workers": 1000}}, "/settings/workers", "maximum: got 1,000, want 256"),
    "a number in quotes": ({"settings": {"workers": "24"}}, "/settings/workers", "got string, want integer"),
    "a switch in quotes": ({"settings": {"applications": "true"}}, "/settings/applications", "want boolean"),
    "the root as user of the pods": ({"runAsUser": 0}, "/runAsUser", "minimum: got 0, want 1"),
    "the root as user": ({"settings": {"runAsUser": 0}}, "/settings/runAsUser", "minimum: got 0, want 1"),
    "a port alone": ({"settings": {"metricsAddress": "8080"}}, "/settings/metricsAddress", "host and port"),
    "a scope without its prefix": (
        {"settings": {"defaultClientScope": "some.scope"}},
        "/settings/defaultClientScope",
        "a scope with its prefix",
    ),
    "a host with a scheme": (
        {"settings": {"maskinportenHosts": ["https://maskinporten.no"]}},
        "/settings/maskinportenHosts/0",
        "a host without scheme port and path",
    ),
    "a network without its size": (
        {"settings": {"maskinportenCidrs": ["139.105.36.164"]}},
        "/settings/maskinportenCidrs/0",
        "an address a slash and a number of bits",
    ),
    "a list as a text": ({"namespaces": "team-a,team-b"}, "/namespaces", "got string, want array"),
    "a namespace in capitals": ({"namespaces": ["Team"]}, "/namespaces/0", "the name of a namespace"),
    "a namespace twice": ({"namespaces": ["team", "team"]}, "/namespaces", "items at 0 and 1 are equal"),
    "a selector's slip": ({"namespaceSelector": "team in a, b"}, "/namespaceSelector", "a label selector"),
    "no replicas": ({"replicas": 0}, "/replicas", "minimum: got 0, want 1"),
    "half a replica": ({"replicas": 1.5}, "/replicas", "got number, want integer"),
    "another kind of credentials": ({"credentials": {"kind": "pem"}}, "/credentials/kind", "'jwk', 'certificate'"),
    "a file's name for a JWK": ({"credentials": {"jwk": "jwk.json"}}, "/credentials/jwk", "a JSON object"),
    "a key for certificates": (
        {"credentials": {"certificateChain": "-----BEGIN PRIVATE KEY-----"}},
        "/credentials/certificateChain",
        "certificates in PEM",
    ),
    "an encrypted key": (
        {"credentials": {"privateKey": "-----BEGIN ENCRYPTED PRIVATE KEY-----"}},
        "/credentials/privateKey",
        "a key in PEM",
    ),
    "an image with its tag": ({"image": {"repository": "a/b:1"}}, "/image/repository", "a name without tag and digest"),
    "half a digest": ({"image": {"digest": "sha256:abc"}}, "/image/digest", "sha256 and 64 hexadecimal digits"),
    "a policy of pulling": ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy", "must be one of 'Always'"),
    "an amount in words": (
        {"resources": {"limits": {"memory": "plenty"}}},
        "/resources/limits/memory",
        "a number with a unit such as 100m or 128Mi",
    ),
    "a toleration's slip": ({"tolerations": [{"name": "a"}]}, "/tolerations/0", "'name' not allowed"),
    "an affinity's slip": ({"affinity": {"nodeaffinity": {}}}, "/affinity", "'nodeaffinity' not allowed"),
    "a budget of none": ({"podDisruptionBudget": {"minAvailable": 0}}, "/podDisruptionBudget/minAvailable", "want 1"),
    "a label that is a number": ({"podLabels": {"a": 1}}, "/podLabels/a", "got number, want string"),
    "port 0": ({"networkPolicy": {"digdir": {"ports": [0]}}}, "/networkPolicy/digdir/ports/0", "got 0, want 1"),
    "no port": ({"networkPolicy": {"digdir": {"ports": []}}}, "/networkPolicy/digdir/ports", "minItems"),
    "a peer's slip": (
        {"networkPolicy": {"metricsFrom": [{"namespace": "monitoring"}]}},
        "/networkPolicy/metricsFrom/0",
        "'namespace' not allowed",
    ),
    "a rule for nobody": (
        {"scopePolicy": {"rules": [{"consumes": ["a:b"]}]}},
        "/scopePolicy/rules/0",
        "missing property 'namespaceLabels'",
    ),
    "a star in the middle": (
        {"scopePolicy": {"rules": [{"namespaceLabels": {}, "consumes": ["skatt:*:read"]}]}},
        "/scopePolicy/rules/0/consumes/0",
        "a scope or its beginning and a star",
    ),
    "a forbidden scope with a space": (
        {"settings": {"forbiddenScopes": ["skatt: *"]}},
        "/settings/forbiddenScopes/0",
        "an asterisk",
    ),
    "a name of clients with a line break": (
        {"settings": {"clientName": "a\nb"}},
        "/settings/clientName",
        "one line without control characters",
    ),
    "another action": ({"scopePolicy": {"actions": ["Refuse"]}}, "/scopePolicy/actions/0", "'Deny', 'Warn', 'Audit'"),
    "an interval without a unit": ({"serviceMonitor": {"interval": "30"}}, "/serviceMonitor/interval", "such as 30s"),
    "a dashboard that nobody finds": (
        {"dashboard": {"labels": {"grafana_dashboard": None}}},
        "/dashboard/labels",
        "minProperties",
    ),
    "a simulator for anybody's port": ({"simulator": {"port": 80}}, "/simulator/port", "minimum: got 80, want 1,024"),
}
NEEDS_A_SENTENCE = {
    "no cluster's name": ({"settings": {"clusterName": ""}}, "settings.clusterName is missing"),
    "no credentials": ({"credentials": {"existingSecret": ""}}, "or for a trial simulator.enabled=true"),
    "credentials twice": ({"credentials": {"jwk": "{}", "clientId": "a"}}, "credentials stand twice"),
    "a key and nobody's": (
        {"credentials": {"existingSecret": "", "jwk": "{}"}},
        "credentials.clientId is missing",
    ),
    "a certificate without its key": (
        {
            "credentials": {
                "existingSecret": "",
                "kind": "certificate",
                "clientId": "a",
                "certificateChain": "-----BEGIN CERTIFICATE-----",
            }
        },
        "set credentials.certificateChain and credentials.privateKey",
    ),
    "a JWK that is to be a certificate": (
        {"credentials": {"existingSecret": "", "kind": "certificate", "clientId": "a", "jwk": "{}"}},
        "and not jwk",
    ),
    "a signer without its key": ({"credentials": {"kind": "signer"}}, "set credentials.signer to the key's name"),
    "a signer without a client": (
        {"credentials": {"kind": "signer", "signer": "a", "existingSecret": ""}},
        "credentials.clientId is missing",
    ),
    "a signer and a key": (
        {"credentials": {"kind": "signer", "signer": "a", "jwk": "{}", "existingSecret": ""}},
        "as somebody else holds the key",
    ),
    "a signer of another kind": ({"credentials": {"signer": "a"}}, "of use with credentials.kind=signer only"),
    "a certificate that the operator renews": (
        {"credentials": {"kind": "certificate"}, "settings": {"adminKeyRotation": True}},
        "it needs credentials.kind=jwk",
    ),
    "a key of the values that the operator renews": (
        {
            "credentials": {"existingSecret": "", "jwk": "{}", "clientId": "a"},
            "settings": {"adminKeyRotation": True},
        },
        "credentials.existingSecret, which no upgrade writes",
    ),
    "simulator and credentials": ({"simulator": {"enabled": True}}, "the simulator has its own"),
    "simulator in production": (
        {"simulator": {"enabled": True}, "credentials": {"existingSecret": ""}, "environment": "production"},
        "the simulator is for trials",
    ),
    "on premises without a proxy": (
        {"settings": {"applications": True, "platform": "onprem"}},
        "settings.webproxyAddress is missing",
    ),
    "an ingress class whose controllers reach nobody": (
        {
            "settings": {
                "applications": True,
                "platform": "gcp",
                "ingressClasses": ["example.com=nginx", "*=other"],
                "ingressControllers": ["nginx=ingress-nginx", "another=a"],
            }
        },
        "settings.ingressControllers names none of other",
    ),
    "namespaces twice": ({"namespaces": ["a"], "namespaceSelector": "team"}, "unset one"),
    "a monitor of nothing": ({"serviceMonitor": {"enabled": True}, "service": {"enabled": False}}, "service.enabled"),
    "alerts on nothing": (
        {"prometheusRule": {"enabled": True}, "settings": {"metricsAddress": ""}},
        "there is nothing to alert on",
    ),
    "a drain that never ends": ({"replicas": 2, "podDisruptionBudget": {"minAvailable": 2}}, "less than replicas"),
    "the simulator and Maskinporten": (
        {
            "simulator": {"enabled": True},
            "credentials": {"existingSecret": ""},
            "settings": {"maskinportenWellKnownUrl": "https://maskinporten.example"},
        },
        "settings.maskinportenWellKnownUrl is set: unset one of the two",
    ),
    "probes that can't get there": ({"settings": {"healthAddress": "127.0.0.1:8081"}}, "the kubelet's probes come"),
    "a Lease that nobody takes": (
        {"extraEnv": [{"name": "MASKINPORTEN_OPERATOR_LEADER_ELECTION", "value": "false"}]},
        "extraEnv has MASKINPORTEN_OPERATOR_LEADER_ELECTION",
    ),
    "a label of the chart's own": (
        {"podLabels": {"app.kubernetes.io/name": "a"}},
        "podLabels has app.kubernetes.io/name, which the chart sets itself",
    ),
    "two certificates to trust": ({"caBundle": {"configMap": "a", "secret": "b"}}, "both set"),
}


@pytest.mark.parametrize(("values", "where", "what"), REFUSED_BY_THE_SCHEMA.values(), ids=REFUSED_BY_THE_SCHEMA)
def test_the_schema_refuses_and_says_where_and_what(render, values, where, what):
    with pytest.raises(ValueError, match="values don't meet the specifications of the schema") as refusal:
        render(**values)

    # One fault, on one line: the words that a pattern means are the name of its group.
    faults = [
        line for line in str(refusal.value).splitlines() if re.match(r"\s*- at '[^']*': (?!validation failed)", line)
    ]
    assert len(faults) == 1, faults
    assert f"at '{where}': " in faults[0]
    assert what in faults[0].replace("_", " ")


@pytest.mark.parametrize(("values", "what"), NEEDS_A_SENTENCE.values(), ids=NEEDS_A_SENTENCE)
def test_values_that_need_or_exclude_each_other_are_refused_with_a_sentence(render, values, what):
    with pytest.raises(ValueError, match=re.escape(what)):
        render(**values)


def test_a_release_that_no_service_can_be_named_after_is_refused(render):
    with pytest.raises(ValueError, match="must begin with a letter"):
        render(release="123")

    assert render(release="a.b").find("Service", "a-b-maskinporten-operator")
