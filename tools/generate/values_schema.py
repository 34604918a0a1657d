"""The schema of the chart's values: what is written by hand, around the settings of the operator.

Helm prints the rule that a value breaks, and not its description. So what a pattern means stands in it, as the name of
a group; few words are listed; and nothing is said by `not` or by alternatives, whose messages nobody understands. What
takes a sentence is refused by `templates/_checks.tpl`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maskinporten_operator.config import SELECTOR_PATTERN

if TYPE_CHECKING:
    from collections.abc import Mapping

    Schema = dict[str, Any]


def words(meaning: str, rule: str, *, empty: bool = False) -> str:
    """Build a pattern that says in words what it means: as the name of a group, which is printed with it."""
    name = meaning.replace(" ", "_")
    return f"^(?<{name}>{rule}){'?' if empty else ''}$"


OBJECT_NAME = r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
NAME = words("small letters digits hyphens and dots", OBJECT_NAME)
OPTIONAL_NAME = words("small letters digits hyphens and dots", OBJECT_NAME, empty=True)
OWN_NAME = words("a letter then small letters digits and hyphens", r"[a-z]([-a-z0-9]*[a-z0-9])?", empty=True)
QUANTITY = words("a number with a unit such as 100m or 128Mi", r"[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?")
LABEL = words("what a label may be", r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?", empty=True)
OCTET = r"(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
NETWORK = words(
    "an address a slash and a number of bits",
    rf"(({OCTET}\.){{3}}{OCTET}/(3[0-2]|[12]?[0-9])|[0-9a-fA-F]*:[0-9a-fA-F:.]*/(12[0-8]|1[01][0-9]|[1-9]?[0-9]))",
)
NAMESPACE_RULE = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
NAMESPACE = words("the name of a namespace", NAMESPACE_RULE)
SCOPE = words("a scope or its beginning and a star", r"[0-9A-Za-zæøåÆØÅ_.:/-]*\*?")
PROXY = words("a URL without a path and with no password", r"https?://[^\s/@]+/?", empty=True)
URL = words("a URL with http or https", r"https?://\S+", empty=True)
DURATION = words("seconds or a number with a unit such as 90s or 30m", r"[0-9]+(\.[0-9]+)?(ms|s|m|h|d)?")
INTERVAL_SETTING = words("at least a second with a unit such as 90s or 30m", r"[0-9]*[1-9][0-9]*(\.[0-9]+)?(s|m|h|d)?")
PORT = r"([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
ADDRESS = words("host and port with a colon between them", rf"(\[[0-9a-fA-F:]+\]|[^:\s]*):{PORT}", empty=True)
INTERVAL = words("a number with a unit such as 30s", r"[0-9]+(ms|s|m|h)", empty=True)
KEY = words("the key of a Secret or ConfigMap", r"[A-Za-z0-9._-]+")
NO_SPACE = words("no spaces and no commas", r"[^\s,]+")


def text(description: str, pattern: str = "", **more: Any) -> Schema:
    """Build the schema of a text; one that may be empty has a pattern that says so."""
    return {"description": description, "type": "string", **({"pattern": pattern} if pattern else {}), **more}


def choice(description: str, *words: str) -> Schema:
    """Build the schema of one word among a few."""
    return {"description": description, "type": "string", "enum": list(words)}


def flag(description: str) -> Schema:
    """Build the schema of a switch."""
    return {"description": description, "type": "boolean"}


def number(description: str, least: int, most: int | None = None) -> Schema:
    """Build the schema of a whole number."""
    bounds = {"minimum": least} | ({} if most is None else {"maximum": most})
    return {"description": description, "type": "integer", **bounds}


def listing(description: str, pattern: str = "", **more: Any) -> Schema:
    """Build the schema of a list of texts."""
    items = {"type": "string", **({"pattern": pattern} if pattern else {})}
    return {"description": description, "type": "array", "uniqueItems": True, "items": items, **more}


def record(description: str, /, **properties: Schema) -> Schema:
    """Build the schema of an object that has these members and no others."""
    return {
        "description": description,
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }


def table(description: str, pattern: str = "") -> Schema:
    """Build the schema of labels, annotations and the like: any names, texts as values."""
    values = {"type": "string", **({"pattern": pattern} if pattern else {})}
    return {"description": description, "type": "object", "additionalProperties": values}


def foreign(description: str, *members: str) -> Schema:
    """Build the schema of an object of Kubernetes': the names of its members, whose contents the API server checks."""
    closed: Schema = {"additionalProperties": False, "properties": {name: {} for name in members}} if members else {}
    return {"description": description, "type": "object", **closed}


def objects(description: str, items: Schema) -> Schema:
    """Build the schema of a list of objects."""
    return {"description": description, "type": "array", "items": items}


IMAGE = record(
    "An image.",
    repository=text(
        "Its name, with the registry that you pushed it to.",
        words("a name without tag and digest", r"[^\s:@]+(:[0-9]+/[^\s:@]+)?"),
    ),
    tag=text(
        "Empty: the chart's appVersion.", words("letters digits dots and hyphens", r"[A-Za-z0-9_.-]*"), maxLength=128
    ),
    digest=text("Wins over the tag.", words("sha256 and 64 hexadecimal digits", r"sha256:[0-9a-f]{64}", empty=True)),
    pullPolicy=choice("When it is pulled.", "Always", "IfNotPresent", "Never"),
)
AMOUNTS: Schema = {
    "type": "object",
    "additionalProperties": {"type": ["string", "integer", "number"], "pattern": QUANTITY, "minimum": 0},
}
RESOURCES = record("What a container asks for, and what it may take.", requests=AMOUNTS, limits=AMOUNTS)
PEERS = objects(
    "Peers of a NetworkPolicy.",
    foreign("A peer.", "podSelector", "namespaceSelector", "ipBlock"),
)
PORTS: Schema = {
    "description": "Ports.",
    "type": "array",
    "minItems": 1,
    "items": {"type": "integer", "minimum": 1, "maximum": 65535},
}
WAY_OUT = record("Addresses and their ports.", cidrs=listing("Networks; empty: any.", NETWORK), ports=PORTS)

WHOSE = {
    "nameOverride": text("Takes the place of the chart's name in names and labels.", OWN_NAME, maxLength=53),
    "fullnameOverride": text("The name of what is installed.", OWN_NAME, maxLength=53),
    "commonLabels": table("Labels of all that is installed.", LABEL),
    "enabled": flag("For the condition of a parent chart; not looked at."),
    "global": {"description": "What a parent chart gives to all of its parts; not looked at.", "type": "object"},
}
CREDENTIALS = record(
    "What proves to DigDir who the operator is.",
    kind=choice("A registered key, a certificate, or a key that somebody else holds.", "jwk", "certificate", "signer"),
    existingSecret=text("The Secret that holds them.", OPTIONAL_NAME, maxLength=253),
    keys=record(
        "Where in that Secret what is.",
        **{
            name: text(what, KEY)
            for name, what in {
                "clientId": "The client id.",
                "jwk": "The private JWK.",
                "certificateChain": "The certificates.",
                "privateKey": "The private key.",
            }.items()
        },
    ),
    clientId=text("The client id of the operator's own client.", words("no spaces", r"\S*")),
    signer=text("A key that somebody else holds, as its provider names it.", words("no spaces", r"\S*")),
    keyId=text("The kid under which it is registered.", words("letters digits dots and hyphens", r"[A-Za-z0-9._-]*")),
    jwk=text("For a trial: the private JWK.", words("a JSON object", r"\s*\{[\s\S]*\}\s*", empty=True)),
    certificateChain=text(
        "For a trial: the certificates, PEM.",
        words("certificates in PEM", r"\s*-----BEGIN CERTIFICATE-----[\s\S]*", empty=True),
    ),
    privateKey=text(
        "For a trial: the private key, PEM.",
        words("a key in PEM", r"\s*-----BEGIN (RSA )?PRIVATE KEY-----[\s\S]*", empty=True),
    ),
)
ACCESS = {
    "crds": record("The custom resource definitions.", install=flag("Whether they come with the chart.")),
    "rbac": record(
        "Rights.",
        create=flag("Whether the operator's roles are made."),
        aggregate=flag("Whether teams' roles are made, as a part of `view`, `edit` and `admin`."),
        pods=flag("Whether the operator may list pods, to see which use a key before it is given up."),
    ),
    "serviceAccount": record(
        "The operator's account.",
        create=flag("Whether it is made."),
        name=text("Its name; empty: that of the release.", OPTIONAL_NAME),
        annotations=table("Its annotations."),
    ),
}
PODS = {
    "replicas": number("How many pods; one of them works.", 1, 5),
    "leaderElection": record(
        "The Lease that says which pod works.",
        leaseName=text("Its name; empty: that of the release.", OPTIONAL_NAME),
        leaseNamespace=text(
            "Where it is; empty: where the release is.", words("the name of a namespace", NAMESPACE_RULE, empty=True)
        ),
    ),
    "podDisruptionBudget": record(
        "With several pods: how many a drain leaves.",
        enabled=flag("Whether there is one."),
        minAvailable=number("How many are left.", 1, 4),
    ),
    "topologySpreadConstraints": objects(
        "Where the pods are apart from each other; without `labelSelector` those of the operator are meant.",
        foreign(
            "A constraint.",
            *("maxSkew", "topologyKey", "whenUnsatisfiable", "labelSelector", "minDomains", "matchLabelKeys"),
            *("nodeAffinityPolicy", "nodeTaintsPolicy"),
        ),
    ),
    "resources": RESOURCES,
    "runAsUser": {
        "description": "The user and group of the pods; empty where the platform chooses them.",
        "type": ["integer", "string"],
        "minimum": 1,
        "maximum": 2**31 - 1,
        "maxLength": 0,
    },
    "priorityClassName": text("The class of priority.", OPTIONAL_NAME),
    "nodeSelector": table("Labels of nodes that may run it.", LABEL),
    "tolerations": objects(
        "Taints that it bears.",
        foreign("A toleration.", "key", "operator", "value", "effect", "tolerationSeconds"),
    ),
    "affinity": foreign("Where the scheduler puts it.", "nodeAffinity", "podAffinity", "podAntiAffinity"),
    "terminationGracePeriodSeconds": number("How long it may take to end.", 10, 600),
    "podAnnotations": table("Annotations of the pods."),
    "podLabels": table("Labels of the pods.", LABEL),
    "extraEnv": objects(
        "More variables.",
        record("A variable.", name=text("Its name."), value=text("A text."), valueFrom=foreign("Or where it is."))
        | {"required": ["name"]},
    ),
    "extraVolumes": objects("More volumes.", {"type": "object", "required": ["name"]}),
    "extraVolumeMounts": objects("Where they are.", {"type": "object", "required": ["name", "mountPath"]}),
}
METRICS = {
    "service": record(
        "The Service for metrics and health.",
        enabled=flag("Whether there is one."),
        annotations=table("Its annotations."),
    ),
    "serviceMonitor": record(
        "For the Prometheus operator.",
        enabled=flag("Whether there is one."),
        labels=table("Labels by which Prometheus finds it.", LABEL),
        interval=text("How often it is read; empty: as Prometheus does.", INTERVAL),
        scrapeTimeout=text("How long that may take.", INTERVAL),
    ),
    "prometheusRule": record(
        "Alerts for the Prometheus operator.",
        enabled=flag("Whether there are some."),
        labels=table("Labels by which Prometheus finds them.", LABEL),
        runbooks=text("Where the docs are published, so that alerts link to their runbooks.", URL),
    ),
    "dashboard": record(
        "A dashboard for Grafana.",
        enabled=flag("Whether there is one."),
        labels={**table("Labels by which Grafana's sidecar finds it.", LABEL), "minProperties": 1},
        annotations=table("Its annotations, such as the folder."),
    ),
}
NETWORK_POLICY = record(
    "What reaches the operator, and what it reaches.",
    enabled=flag("Whether there is one."),
    metricsFrom=PEERS,
    apiServer=WAY_OUT,
    digdir=WAY_OUT,
    proxy=record("With `proxy.url`, instead of `digdir`.", cidrs=listing("Its networks; empty: any.", NETWORK)),
    extraEgress=objects("More ways out.", foreign("A rule.", "to", "ports")),
)
SCOPE_POLICY = record(
    "Which namespaces may use and expose which scopes.",
    enabled=flag("Whether the policy is made."),
    actions=listing("What becomes of a resource that breaks it.", minItems=1)
    | {"items": {"type": "string", "enum": ["Deny", "Warn", "Audit"]}},
    rules=objects(
        "What is allowed, by the namespace's labels.",
        record(
            "A rule.",
            namespaceLabels=table("Labels that the namespace must have, all of them; {} means every one.", LABEL),
            consumes=listing("Scopes that may be used; with * at the end all that begin so.", SCOPE),
            exposes=listing("Scopes that may be exposed, without the prefix: product, separator, name.", SCOPE),
        )
        | {"required": ["namespaceLabels"]},
    ),
)
SIZE_POLICY = record(
    "How large and how deeply nested resources may be.",
    enabled=flag("Whether the policy is made."),
)
SIMULATOR = record(
    "A stand-in for DigDir and Maskinporten.",
    enabled=flag("Whether it runs, and the operator uses it."),
    port=number("Where it listens.", 1024, 65535),
    seed=foreign("What DigDir knows at the start."),
    settings={
        "description": "Its settings.",
        "type": "object",
        "additionalProperties": {"type": ["string", "number", "boolean"]},
    },
    persistence=record(
        "Where it keeps what it knows.",
        enabled=flag("Whether on a volume; else in memory."),
        size=text("How large.", QUANTITY),
        storageClassName=text("Of what class; empty: the cluster's default.", OPTIONAL_NAME),
        existingClaim=text("A claim that exists.", OPTIONAL_NAME),
    ),
    resources=RESOURCES,
)


def build_schema(settings: Mapping[str, Schema]) -> Schema:
    """Build the schema of all values."""
    values = record(
        "Values of maskinporten-operator.",
        **WHOSE,
        image=IMAGE,
        imagePullSecrets=listing("Names of Secrets for the registry.", NAME),
        environment=choice("Which of DigDir's environments.", "test", "production"),
        # Each has a default among the values, so one that isn't there was set to null
        settings=record("The operator's settings.", **settings) | {"required": list(settings)},
        credentials=CREDENTIALS,
        caBundle=record(
            "Certificates to trust for DigDir and Maskinporten, instead of the system's.",
            configMap=text("A ConfigMap that has them.", OPTIONAL_NAME),
            secret=text("Or a Secret.", OPTIONAL_NAME),
            key=text("Where in it.", KEY),
        ),
        proxy=record(
            "The proxy by which the operator reaches DigDir.",
            url=text("Its address.", PROXY),
            exclude=listing("What is reached without it.", NO_SPACE),
        ),
        namespaces=listing("The namespaces to manage; empty: all of them.", NAMESPACE),
        namespaceSelector=text(
            "Labels of the namespaces to manage; empty: all.",
            words("a label selector", SELECTOR_PATTERN, empty=True),
        ),
        **ACCESS,
        **PODS,
        **METRICS,
        networkPolicy=NETWORK_POLICY,
        scopePolicy=SCOPE_POLICY,
        sizePolicy=SIZE_POLICY,
        simulator=SIMULATOR,
    )
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "maskinporten-operator", **values}
