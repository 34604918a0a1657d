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
    "The image of the operator, and of the simulator.",
    repository=text(
        "The image's name, with the registry that you pushed it to.",
        words("a name without tag and digest", r"[^\s:@]+(:[0-9]+/[^\s:@]+)?"),
    ),
    tag=text(
        "The image's tag; empty: the chart's appVersion.",
        words("letters digits dots and hyphens", r"[A-Za-z0-9_.-]*"),
        maxLength=128,
    ),
    digest=text(
        "The image's digest, `sha256:…`; it wins over the tag.",
        words("sha256 and 64 hexadecimal digits", r"sha256:[0-9a-f]{64}", empty=True),
    ),
    pullPolicy=choice(
        "When a node pulls the image: always, if it doesn't have it, or never.", "Always", "IfNotPresent", "Never"
    ),
)
AMOUNTS: Schema = {
    "type": "object",
    "additionalProperties": {"type": ["string", "integer", "number"], "pattern": QUANTITY, "minimum": 0},
}
RESOURCES = record("What the container requests of CPU and memory, and its limits.", requests=AMOUNTS, limits=AMOUNTS)
PEERS = objects(
    "Which pods, namespaces or networks may read the metrics, as `from` of a NetworkPolicy has them; empty: any.",
    foreign("A peer.", "podSelector", "namespaceSelector", "ipBlock"),
)


def way_out(whom: str) -> Schema:
    """Build the schema of what a NetworkPolicy opens so that somebody can be reached."""
    return record(
        f"What is opened to reach {whom}.",
        cidrs=listing(f"The networks of {whom}, in CIDR notation; empty: every address.", NETWORK),
        ports={
            "description": f"The TCP ports of {whom}.",
            "type": "array",
            "minItems": 1,
            "items": {"type": "integer", "minimum": 1, "maximum": 65535},
        },
    )


WHOSE = {
    "nameOverride": text("Takes the place of the chart's name in names and labels.", OWN_NAME, maxLength=53),
    "fullnameOverride": text(
        "The name of all that is installed, instead of one made of the release's and the chart's.",
        OWN_NAME,
        maxLength=53,
    ),
    "commonLabels": table("Labels of all that is installed.", LABEL),
    "enabled": flag("For the condition of a parent chart; not looked at."),
    "global": {"description": "What a parent chart gives to all of its parts; not looked at.", "type": "object"},
}
CREDENTIALS = record(
    "What proves to DigDir who the operator is.",
    kind=choice("A registered key, a certificate, or a key that somebody else holds.", "jwk", "certificate", "signer"),
    existingSecret=text(
        "The Secret in the release's namespace that holds the client id, and the JWK or the certificates with key.",
        OPTIONAL_NAME,
        maxLength=253,
    ),
    keys=record(
        "By which keys the Secret `existingSecret` holds the credentials.",
        **{
            name: text(what, KEY)
            for name, what in {
                "clientId": "The key of the Secret that holds the client id.",
                "jwk": "The key of the Secret that holds the private JWK.",
                "certificateChain": "The key of the Secret that holds the certificates, PEM.",
                "privateKey": "The key of the Secret that holds the certificate's private key, PEM.",
            }.items()
        },
    ),
    clientId=text("The client id of the operator's own client, if it isn't in the Secret.", words("no spaces", r"\S*")),
    signer=text("With `kind: signer`: the key, as its provider names it.", words("no spaces", r"\S*")),
    keyId=text(
        "With `kind: signer`: the `kid` under which the key is registered on the operator's client.",
        words("letters digits dots and hyphens", r"[A-Za-z0-9._-]*"),
    ),
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
    "crds": record(
        "The custom resource definitions.",
        install=flag("Whether the CRDs come with the chart; `false` where the platform brings its own."),
    ),
    "rbac": record(
        "The rights of the operator and of teams (RBAC).",
        create=flag("Whether the operator's roles and their bindings are made."),
        aggregate=flag("Whether teams' roles are made, as a part of `view`, `edit` and `admin`."),
        pods=flag("Whether the operator may list pods, to see which use a key before it is given up."),
    ),
    "serviceAccount": record(
        "The ServiceAccount that the operator's pods run as.",
        create=flag("Whether the chart makes the ServiceAccount; else it must exist."),
        name=text("The ServiceAccount's name; empty: that of the release.", OPTIONAL_NAME),
        annotations=table("Annotations of the ServiceAccount, such as for a workload identity."),
    ),
}
PODS = {
    "replicas": number("How many pods the operator has: one works, the others stand by.", 1, 5),
    "leaderElection": record(
        "The Lease that says which pod works.",
        leaseName=text("The Lease's name; empty: that of the release.", OPTIONAL_NAME),
        leaseNamespace=text(
            "The Lease's namespace; empty: the release's.", words("the name of a namespace", NAMESPACE_RULE, empty=True)
        ),
    ),
    "podDisruptionBudget": record(
        "The PodDisruptionBudget of the operator's pods, where there are several.",
        enabled=flag("Whether the PodDisruptionBudget is made."),
        minAvailable=number("How many of the operator's pods a drain of nodes must leave.", 1, 4),
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
    "priorityClassName": text("The PriorityClass of the operator's pods.", OPTIONAL_NAME),
    "nodeSelector": table("Labels that a node must have to run the operator.", LABEL),
    "tolerations": objects(
        "Tolerations of the operator's pods: the taints of nodes that may run them nevertheless.",
        foreign("A toleration.", "key", "operator", "value", "effect", "tolerationSeconds"),
    ),
    "affinity": foreign(
        "The operator's affinity to nodes and to other pods, as in a pod's spec.",
        "nodeAffinity",
        "podAffinity",
        "podAntiAffinity",
    ),
    "terminationGracePeriodSeconds": number("How many seconds the operator has to end before it is killed.", 10, 600),
    "podAnnotations": table("Annotations of the operator's pods."),
    "podLabels": table("Labels of the operator's pods, besides the chart's.", LABEL),
    "extraEnv": objects(
        "Environment variables of the operator, besides the chart's.",
        record("A variable.", name=text("Its name."), value=text("A text."), valueFrom=foreign("Or where it is."))
        | {"required": ["name"]},
    ),
    "extraVolumes": objects(
        "Volumes of the operator's pods, besides the chart's, as in a pod's spec.",
        {"type": "object", "required": ["name"]},
    ),
    "extraVolumeMounts": objects(
        "Where the operator's container mounts `extraVolumes`, as in a container's spec.",
        {"type": "object", "required": ["name", "mountPath"]},
    ),
}
METRICS = {
    "service": record(
        "The Service for metrics and health.",
        enabled=flag("Whether the Service is made; `helm test` needs it."),
        annotations=table("Annotations of the Service."),
    ),
    "serviceMonitor": record(
        "The ServiceMonitor, by which the Prometheus operator has the metrics read; needs its CRD.",
        enabled=flag("Whether the ServiceMonitor is made."),
        labels=table("Labels by which Prometheus finds the ServiceMonitor.", LABEL),
        interval=text("How often the metrics are read; empty: as often as Prometheus is set to.", INTERVAL),
        scrapeTimeout=text(
            "How long one reading of the metrics may take; empty: as long as Prometheus is set to.", INTERVAL
        ),
    ),
    "prometheusRule": record(
        "The PrometheusRule, which has the alerts, for the Prometheus operator; needs its CRD.",
        enabled=flag("Whether the PrometheusRule is made."),
        labels=table("Labels by which Prometheus finds the PrometheusRule.", LABEL),
        runbooks=text("Where the docs are published, so that alerts link to their runbooks.", URL),
    ),
    "dashboard": record(
        "A dashboard for Grafana, as a ConfigMap.",
        enabled=flag("Whether the dashboard's ConfigMap is made."),
        labels={**table("Labels by which Grafana's sidecar finds the dashboard.", LABEL), "minProperties": 1},
        annotations=table("Annotations of the dashboard's ConfigMap, such as `grafana_folder`."),
    ),
}
NETWORK_POLICY = record(
    "The NetworkPolicy of the operator's pods: what reaches them, and what they reach.",
    enabled=flag("Whether the NetworkPolicy is made."),
    metricsFrom=PEERS,
    apiServer=way_out("the API server"),
    digdir=way_out("DigDir and Maskinporten"),
    proxy=record(
        "With `proxy.url`, instead of `digdir`.",
        cidrs=listing("The proxy's networks, in CIDR notation; empty: every address, at the proxy's port.", NETWORK),
    ),
    extraEgress=objects(
        "Further rules of `egress`, as a NetworkPolicy has them, such as to a DNS outside of kube-system.",
        foreign("A rule.", "to", "ports"),
    ),
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
    port=number("The port at which the simulator listens.", 1024, 65535),
    seed=foreign(
        "The clients, scopes and organisations that the simulator has at its first start; empty: what is built in."
    ),
    settings={
        "description": "Settings of the simulator, such as `latency_ms: 80`; docs/simulator.md has all.",
        "type": "object",
        "additionalProperties": {"type": ["string", "number", "boolean"]},
    },
    persistence=record(
        "Whether, and on what volume, the simulator keeps what it knows when its pod ends.",
        enabled=flag("Whether the simulator keeps it on a volume; else in memory."),
        size=text("The size of the simulator's volume.", QUANTITY),
        storageClassName=text(
            "The StorageClass of the simulator's volume; empty: the cluster's default.", OPTIONAL_NAME
        ),
        existingClaim=text("A PersistentVolumeClaim that exists, to use instead of one of the chart's.", OPTIONAL_NAME),
    ),
    resources=RESOURCES,
)


def build_schema(settings: Mapping[str, Schema]) -> Schema:
    """Build the schema of all values."""
    values = record(
        "Values of maskinporten-operator.",
        **WHOSE,
        image=IMAGE,
        imagePullSecrets=listing("The Secrets by which the operator's image is pulled.", NAME),
        environment=choice("Which of DigDir's environments.", "test", "production"),
        # Each has a default among the values, so one that isn't there was set to null
        settings=record("The operator's settings.", **settings) | {"required": list(settings)},
        credentials=CREDENTIALS,
        caBundle=record(
            "Certificates to trust for DigDir and Maskinporten, instead of the system's.",
            configMap=text("The ConfigMap that has the certificates, PEM.", OPTIONAL_NAME),
            secret=text("The Secret that has the certificates, PEM, instead of a ConfigMap.", OPTIONAL_NAME),
            key=text("The key of that ConfigMap or Secret that holds the certificates.", KEY),
        ),
        proxy=record(
            "The proxy by which the operator reaches DigDir and Maskinporten.",
            url=text("The proxy's URL, such as http://proxy.example:8088; without a password.", PROXY),
            exclude=listing("Hosts and domains that are reached without the proxy.", NO_SPACE),
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
