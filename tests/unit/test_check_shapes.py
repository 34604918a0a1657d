"""What `check` says of each thing that teams write in manifests for NAIS, and of each input that once went wrong."""

import json

import pytest
import yaml
from click.testing import CliRunner

from maskinporten_operator.cli import main

GCP = ("--platform", "gcp", "--cluster-name", "my-cluster", "--ingress-classes", "example.com=nginx")
ONPREM = ("--platform", "onprem", "--webproxy-address", "http://proxy.example:8088", "--cluster-name", "my-cluster")
GENERIC = ()
CONSUMES = {"enabled": True, "scopes": {"consumes": [{"name": "skatt:some.scope"}]}}
HOST = "https://my-app.example.com"


def application(spec, metadata=None):
    meta = {"name": "my-app", "namespace": "my-team", "labels": {"team": "my-team"}, **(metadata or {})}
    spec = {"image": "registry.example/my-app:1", "maskinporten": CONSUMES, **spec}
    return {"apiVersion": "nais.io/v1alpha1", "kind": "Application", "metadata": meta, "spec": spec}


def client(scopes, name="my-client"):
    spec = {"secretName": "my-secret", "scopes": scopes}
    return {"apiVersion": "nais.io/v1", "kind": "MaskinportenClient", "metadata": {"name": name}, "spec": spec}


def exposed(**more):
    return {"exposes": [{"name": "some.scope", "product": "arbeid", "enabled": True, **more}]}


def annotated(**annotations):
    return {"annotations": {name.replace("_", "/", 1): value for name, value in annotations.items()}}


def check(manifest, settings):
    """What is found: rule, or the path of what isn't acted on."""
    outcome = CliRunner().invoke(main, ["check", "-o", "json", *settings, "-"], input=yaml.safe_dump(manifest))
    assert outcome.exit_code in {0, 1}, outcome.output
    found = json.loads(outcome.stdout)["findings"]
    return [one["path"] if one["rule"] == "not-acted-on" else (one["rule"], one["path"]) for one in found]


CPU = {"resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}}}
PROBE = {"path": "/internal/alive", "port": 8080, "initialDelay": 5, "periodSeconds": 10, "failureThreshold": 3}
ACTED_ON = {
    "a port": {"port": 8080},
    "variables": {
        "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]
    },
    "variables for Java by those of the proxy": {
        "env": [{"name": "JDK_JAVA_OPTIONS", "value": "-Xmx1g $(JAVA_PROXY_OPTIONS)"}]
    },
    "variables from elsewhere": {"envFrom": [{"secret": "a"}, {"configmap": "b"}]},
    "resources": CPU,
    "probes": {"liveness": PROBE, "readiness": PROBE, "startup": PROBE},
    "a number of pods": {"replicas": {"min": 2}},
    "numbers of pods": {**CPU, "replicas": {"min": 2, "max": 4, "cpuThresholdPercentage": 80}},
    "a strategy of scaling": {
        **CPU,
        "replicas": {"min": 2, "max": 4, "scalingStrategy": {"cpu": {"thresholdPercentage": 70}}},
    },
    "no scaling": {"replicas": {"min": 2, "max": 4, "disableAutoScaling": True}},
    "metrics": {"prometheus": {"enabled": True, "path": "/metrics"}},
    "a command": {"command": ["/bin/app", "--serve"]},
    "a pause before the end": {
        "preStopHook": {"exec": {"command": ["sleep", "5"]}},
        "terminationGracePeriodSeconds": 60,
    },
    "a path before the end": {"preStopHookPath": "/stop"},
    "files": {
        "filesFrom": [
            {"configmap": "a"},
            {"secret": "b", "mountPath": "/etc/b"},
            {"emptyDir": {"medium": "Memory"}, "mountPath": "/c"},
        ]
    },
    "a strategy": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "50%", "maxUnavailable": 0}}},
    "recreation": {"strategy": {"type": "Recreate"}},
    "a service": {"service": {"port": 80, "protocol": "http"}},
    "applications that it calls": {
        "accessPolicy": {
            "outbound": {
                "rules": [{"application": "a"}, {"application": "b", "namespace": "c", "cluster": "my-cluster"}]
            }
        }
    },
    "addresses that it calls": {
        "accessPolicy": {
            "outbound": {
                "external": [
                    {"ipv4": "192.0.2.1"},
                    {"ipv4": "192.0.2.2", "ports": [{"port": 5432, "name": "db", "protocol": "TCP"}]},
                ]
            }
        }
    },
    "callers": {"accessPolicy": {"inbound": {"rules": [{"application": "a", "namespace": "b"}]}}},
    "Maskinporten without scopes": {"maskinporten": {"enabled": True}},
    "no Maskinporten": {"maskinporten": {"enabled": False}},
    "no image": {"image": None},
    "a delegated scope": {
        "maskinporten": {"enabled": True, "scopes": exposed(delegationSource="altinn", separator="/")}
    },
    "an exposed scope with all that it can have": {
        "maskinporten": {
            "enabled": True,
            "scopes": CONSUMES["scopes"]
            | exposed(
                atMaxAge=60,
                accessibleForAll=True,
                allowedIntegrations=["maskinporten"],
                separator=":",
                visibility="private",
                consumers=[{"orgno": f"98765432{number}", "name": "Somebody"} for number in range(10)]
                + [{"orgno": f"87654321{number}"} for number in range(3)],
            ),
        }
    },
}
"""Of the specs of Applications: what the operator acts on, in every cluster that restricts who calls whom."""


@pytest.mark.parametrize("shape", ACTED_ON)
@pytest.mark.parametrize("settings", [GCP, (*ONPREM, "--maskinporten-cidrs", "192.0.2.0/24")], ids=["gcp", "onprem"])
def test_what_is_acted_on_has_no_finding(shape, settings):
    on_premises = {} if settings is GCP else {"webproxy": True}

    assert check(application(ACTED_ON[shape] | on_premises), settings) == []


NOT_ACTED_ON = {
    "azure": {"application": {"enabled": True}},
    "observability": {"autoInstrumentation": {"enabled": True, "runtime": "java"}},
    "gcp": {"sqlInstances": [{"type": "POSTGRES_17", "databases": [{"name": "a"}]}]},
    "tokenx": {"enabled": True},
    "idporten": {"enabled": True, "sidecar": {"enabled": True}},
    "kafka": {"pool": "some-pool"},
    "leaderElection": True,
    "valkey": [{"instance": "a", "access": "readwrite"}],
    "redis": [{"instance": "a"}],
    "openSearch": {"instance": "a"},
    "vault": {"enabled": True},
    "secureLogs": {"enabled": True},
    "logformat": "accesslog",
    "skipCaBundle": True,
    "influx": {"instance": "a"},
}


@pytest.mark.parametrize("field", NOT_ACTED_ON)
def test_what_another_operator_would_act_on_is_named_and_is_no_error(field):
    assert check(application({field: NOT_ACTED_ON[field]}), GCP) == [f"spec.{field}"]


CASES = {
    "a way out by the proxy, in the cloud": (application({"webproxy": True}), GCP, ["spec.webproxy"]),
    "a way out by the proxy, on premises": (application({"webproxy": True}), ONPREM, []),
    "no way out by the proxy, on premises": (application({}), ONPREM, [("webproxy-required", "spec.webproxy")]),
    "hosts that it calls, in the cloud": (
        application({"accessPolicy": {"outbound": {"external": [{"host": "api.example.org"}]}}}),
        GCP,
        [],
    ),
    "hosts that it calls, where policies have no names": (
        application({"webproxy": True, "accessPolicy": {"outbound": {"external": [{"host": "api.example.org"}]}}}),
        ONPREM,
        ["spec.accessPolicy.outbound.external[0].host"],
    ),
    "an application of another cluster": (
        application({"accessPolicy": {"outbound": {"rules": [{"application": "a", "cluster": "other"}]}}}),
        GCP,
        ["spec.accessPolicy.outbound.rules[0]"],
    ),
    "a URL with a class": (application({"ingresses": [HOST, f"{HOST}/path"]}), GCP, []),
    "a URL without a class": (application({"ingresses": ["https://my-app.example.org"]}), GCP, ["spec.ingresses[0]"]),
    "a URL where no Ingresses are made": (application({"ingresses": [HOST]}), GENERIC, ["spec.ingresses"]),
    "callers where nobody is kept out": (
        application({"accessPolicy": {"inbound": {"rules": [{"application": "a"}]}}}),
        GENERIC,
        ["spec.accessPolicy.inbound"],
    ),
    "an annotation of another's": (
        application({}, annotated(**{"texas.nais.io_enabled": "true"})),
        GCP,
        ["metadata.annotations[texas.nais.io/enabled]"],
    ),
    "an annotation of the ingress controller's, with a URL": (
        application({"ingresses": [HOST]}, annotated(**{"nginx.ingress.kubernetes.io_proxy-body-size": "8m"})),
        GCP,
        [],
    ),
    "an annotation of the ingress controller's, without": (
        application({}, annotated(**{"nginx.ingress.kubernetes.io_proxy-body-size": "8m"})),
        GCP,
        ["metadata.annotations[nginx.ingress.kubernetes.io/proxy-body-size]"],
    ),
    "annotations on the user and its files": (
        application(
            {},
            annotated(
                **{
                    "nais.io_run-as-user": "1069",
                    "nais.io_run-as-group": "1069",
                    "nais.io_read-only-file-system": "true",
                }
            ),
        ),
        GCP,
        [],
    ),
    "scaling by Kafka": (
        application(
            {
                **CPU,
                "replicas": {
                    "min": 1,
                    "max": 4,
                    "scalingStrategy": {"kafka": {"topic": "a", "consumerGroup": "b", "threshold": 1}},
                },
            }
        ),
        GCP,
        ["spec.replicas.scalingStrategy.kafka"],
    ),
    "scaling without a request of CPU": (
        application({"replicas": {"min": 2, "max": 4}}),
        ("--workload-defaults", "none"),
        ["spec.replicas.max"],
    ),
    "a consumed scope twice": (
        client({"consumes": [{"name": "skatt:some.scope"}] * 2}),
        GCP,
        [("repeated-scope", "spec.scopes")],
    ),
    "a consumed scope of an Application twice": (
        application({"maskinporten": {"enabled": True, "scopes": {"consumes": [{"name": "skatt:some.scope"}] * 2}}}),
        GCP,
        [("repeated-scope", "spec.maskinporten.scopes")],
    ),
    "an exposed scope twice": (
        client({"exposes": [*exposed(atMaxAge=30)["exposes"], *exposed(atMaxAge=60)["exposes"]]}),
        GCP,
        [("repeated-scope", "spec.scopes")],
    ),
    "an empty image": (application({"image": ""}), GCP, [("invalid-field", "spec.image")]),
    "a name with a dot": (application({}, {"name": "my.app"}), GCP, [("invalid-field", "metadata.name")]),
    "a name that is too long": (client({}, "a" * 70), GCP, [("invalid-field", "metadata.name")]),
    "what is read with its status": (
        {**client({}), "status": {"clientID": "a", "synchronizationState": "Ready"}},
        GCP,
        [],
    ),
    "finalizers of another operator": (
        application({}, {"name": "my-app", "finalizers": ["example.org/finalizer"]}),
        GCP,
        [],
    ),
    "a rotation that stays in the manifest": (
        {
            **client({}),
            "metadata": {"name": "my-client", "annotations": {"digdir.nais.io/rotate": "2026-11-27"}},
        },
        GCP,
        [],
    ),
    "a job": ({**application({}), "kind": "Naisjob", "apiVersion": "nais.io/v1"}, GCP, []),
    "the definition of a kind": (
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "a.nais.io"},
        },
        GCP,
        [],
    ),
    "a quota": ({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "a"}, "spec": {}}, GCP, []),
}


@pytest.mark.parametrize("case", CASES)
def test_each_shape_has_its_verdict(case):
    manifest, settings, found = CASES[case]

    assert check(manifest, settings) == found
