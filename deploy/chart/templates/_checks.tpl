{{/* What the schema can't say: values that need or exclude each other. Each refusal says what to do. */}}
{{- define "mpo.checks" -}}
{{- if not (regexMatch "^[a-z]" (include "mpo.fullname" .)) -}}
{{- fail (printf "%s can't be the name of a Service, which must begin with a letter: choose another name for the release, or set fullnameOverride" (include "mpo.fullname" .)) -}}
{{- end -}}
{{- range $labels := list "commonLabels" "podLabels" -}}
{{- range list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "helm.sh/chart" -}}
{{- if hasKey (get $.Values $labels | default dict) . -}}
{{- fail (printf "%s has %s, which the chart sets itself" $labels .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range .Values.extraEnv -}}
{{- if regexMatch "^MASKINPORTEN_OPERATOR_(LEADER_ELECTION|LEASE_)" .name -}}
{{- fail (printf "extraEnv has %s: the Lease follows from leaderElection, and every upgrade counts on it" .name) -}}
{{- end -}}
{{- end -}}
{{- if regexMatch "^(127\\.|localhost:|\\[::1\\])" .Values.settings.healthAddress -}}
{{- fail "settings.healthAddress is the pod's own: the kubelet's probes come from outside; set 0.0.0.0 and the port, or nothing for no probes" -}}
{{- end -}}
{{- $credentials := .Values.credentials -}}
{{- $inline := or $credentials.jwk $credentials.certificateChain $credentials.privateKey -}}
{{- if not .Values.simulator.enabled -}}
{{- if not .Values.settings.clusterName -}}
{{- fail "settings.clusterName is missing: name this cluster, as no other cluster of the organisation is named, and never change it" -}}
{{- end -}}
{{- if and (ne $credentials.kind "signer") (or $credentials.signer $credentials.keyId) -}}
{{- fail "credentials.signer and credentials.keyId are of use with credentials.kind=signer only: set that, or unset them" -}}
{{- end -}}
{{- if eq $credentials.kind "signer" -}}
{{- if not $credentials.signer -}}
{{- fail "credentials.kind is signer: set credentials.signer to the key's name" -}}
{{- end -}}
{{- if $inline -}}
{{- fail "credentials.kind is signer: unset jwk, certificateChain and privateKey, as somebody else holds the key" -}}
{{- end -}}
{{- if not (or $credentials.existingSecret $credentials.clientId) -}}
{{- fail "credentials.clientId is missing: the id of the client whose key that is, or credentials.existingSecret with it" -}}
{{- end -}}
{{- else if not (or $credentials.existingSecret $inline) -}}
{{- fail "credentials are missing: set credentials.existingSecret to a Secret that holds them, or for a trial simulator.enabled=true" -}}
{{- end -}}
{{- if and $credentials.existingSecret $inline -}}
{{- fail "credentials stand twice: set credentials.existingSecret, or the contents (jwk, or certificateChain and privateKey), not both" -}}
{{- end -}}
{{- if $inline -}}
{{- if not $credentials.clientId -}}
{{- fail "credentials.clientId is missing: the id of the client whose credentials those are" -}}
{{- end -}}
{{- if and (eq $credentials.kind "jwk") (or (not $credentials.jwk) $credentials.certificateChain $credentials.privateKey) -}}
{{- fail "credentials.kind is jwk: set credentials.jwk, and neither certificateChain nor privateKey; or set the kind to certificate" -}}
{{- end -}}
{{- if and (eq $credentials.kind "certificate") (or $credentials.jwk (not $credentials.certificateChain) (not $credentials.privateKey)) -}}
{{- fail "credentials.kind is certificate: set credentials.certificateChain and credentials.privateKey, and not jwk" -}}
{{- end -}}
{{- end -}}
{{- else -}}
{{- if or $credentials.existingSecret $inline -}}
{{- fail "simulator.enabled is true, and credentials are set: the simulator has its own; unset one of the two" -}}
{{- end -}}
{{- if eq .Values.environment "production" -}}
{{- fail "simulator.enabled is true, and environment is production: the simulator is for trials" -}}
{{- end -}}
{{- range list "digdirBaseUrl" "maskinportenWellKnownUrl" -}}
{{- if get $.Values.settings . -}}
{{- fail (printf "simulator.enabled is true, and settings.%s is set: unset one of the two" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.settings.adminKeyRotation (or (ne $credentials.kind "jwk") (not $credentials.existingSecret)) -}}
{{- fail "settings.adminKeyRotation is true: it needs credentials.kind=jwk, and credentials.existingSecret, which no upgrade writes" -}}
{{- end -}}
{{- if and .Values.caBundle.configMap .Values.caBundle.secret -}}
{{- fail "caBundle.configMap and caBundle.secret are both set: unset one" -}}
{{- end -}}
{{- if and .Values.settings.applications (eq .Values.settings.platform "onprem") (not .Values.settings.webproxyAddress) -}}
{{- fail "settings.webproxyAddress is missing: with applications on the platform onprem the way out is a proxy" -}}
{{- end -}}
{{- $settings := .Values.settings -}}
{{- if and $settings.applications (or (eq $settings.inbound "networkpolicy") (and (eq $settings.inbound "auto") (ne $settings.platform "generic"))) -}}
{{- range $settings.ingressClasses -}}
{{- $class := regexReplaceAll "^[^=]*=" . "" -}}
{{- if not (regexMatch (printf " %s=" (regexQuoteMeta $class)) (printf " %s" (join " " $settings.ingressControllers))) -}}
{{- fail (printf "settings.ingressControllers names none of %s: where callers are restricted nobody would reach Applications by it; add %s=<namespace or network of the controller>" $class $class) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.namespaces .Values.namespaceSelector -}}
{{- fail "namespaces and namespaceSelector are both set: those of a list are managed whatever their labels; unset one" -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled (not (and .Values.service.enabled .Values.settings.metricsAddress)) -}}
{{- fail "serviceMonitor.enabled needs service.enabled and settings.metricsAddress: Prometheus finds the pods by the Service" -}}
{{- end -}}
{{- if and .Values.prometheusRule.enabled (not .Values.settings.metricsAddress) -}}
{{- fail "prometheusRule.enabled needs settings.metricsAddress: without metrics there is nothing to alert on" -}}
{{- end -}}
{{- if and (include "mpo.replicated" .) .Values.podDisruptionBudget.enabled (ge (int .Values.podDisruptionBudget.minAvailable) (int .Values.replicas)) -}}
{{- fail "podDisruptionBudget.minAvailable must be less than replicas: otherwise no node can be drained" -}}
{{- end -}}
{{- $rules := .Values.scopePolicy.rules -}}
{{- if and .Values.scopePolicy.enabled (has "Deny" .Values.scopePolicy.actions) (has "Warn" .Values.scopePolicy.actions) -}}
{{- fail "scopePolicy.actions has Deny and Warn, which Kubernetes doesn't take together: a refusal tells already" -}}
{{- end -}}
{{- end -}}
