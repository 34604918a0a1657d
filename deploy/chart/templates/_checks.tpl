{{/* What the schema can't say: values that need or exclude each other. Each refusal says what to do. */}}
{{- define "mpo.checks" -}}
{{- $credentials := .Values.credentials -}}
{{- $inline := or $credentials.jwk $credentials.certificateChain $credentials.privateKey -}}
{{- if not .Values.simulator.enabled -}}
{{- if not .Values.settings.clusterName -}}
{{- fail "settings.clusterName is missing: name this cluster, as no other cluster of the organisation is named, and never change it" -}}
{{- end -}}
{{- if not (or $credentials.existingSecret $inline) -}}
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
{{- if .Values.settings.digdirBaseUrl -}}
{{- fail "simulator.enabled is true, and settings.digdirBaseUrl is set: unset one of the two" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.caBundle.configMap .Values.caBundle.secret -}}
{{- fail "caBundle.configMap and caBundle.secret are both set: unset one" -}}
{{- end -}}
{{- if and .Values.settings.applications (eq .Values.settings.platform "onprem") (not .Values.settings.webproxyAddress) -}}
{{- fail "settings.webproxyAddress is missing: with applications on the platform onprem the way out is a proxy" -}}
{{- end -}}
{{- if and .Values.namespaces .Values.namespaceSelector -}}
{{- fail "namespaces and namespaceSelector are both set: those of a list are looked after whatever their labels; unset one" -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled (not (and .Values.service.enabled .Values.settings.metricsAddress)) -}}
{{- fail "serviceMonitor.enabled needs service.enabled and settings.metricsAddress: Prometheus finds the pods by the Service" -}}
{{- end -}}
{{- if and (include "mpo.elects" .) .Values.podDisruptionBudget.enabled (ge (int .Values.podDisruptionBudget.minAvailable) (int .Values.replicas)) -}}
{{- fail "podDisruptionBudget.minAvailable must be less than replicas: otherwise no node can be drained" -}}
{{- end -}}
{{- /* Known from the cluster only: a replica that was alone asks for no Lease, and would write beside the leader. */ -}}
{{- $running := lookup "apps/v1" "Deployment" .Release.Namespace (include "mpo.fullname" .) -}}
{{- if and (include "mpo.elects" .) $running (not (contains "MASKINPORTEN_OPERATOR_LEADER_ELECTION" (toJson $running))) (gt (int (dig "spec" "replicas" 0 $running)) 0) -}}
{{- fail (printf "replicas is more than 1, and the one that runs asks for no Lease: end it first, by kubectl scale deployment/%s -n %s --replicas=0" (include "mpo.fullname" .) .Release.Namespace) -}}
{{- end -}}
{{- $rules := .Values.scopePolicy.rules -}}
{{- if and .Values.scopePolicy.enabled (has "Deny" .Values.scopePolicy.actions) (has "Warn" .Values.scopePolicy.actions) -}}
{{- fail "scopePolicy.actions has Deny and Warn, which Kubernetes doesn't take together: a refusal tells already" -}}
{{- end -}}
{{- end -}}
