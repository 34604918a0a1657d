{{/*
The operator's variables. Settings are copied one by one under their own names; what follows from other values comes
after. An empty value is none, but for the addresses, where it means that nothing is served, and the user of pods.
*/}}
{{- define "mpo.environment" -}}
{{- $settings := deepCopy .Values.settings -}}
{{- if .Values.simulator.enabled -}}
{{- $url := include "mpo.simulatorUrl" . -}}
{{- $_ := set $settings "clusterName" ($settings.clusterName | default "trial") -}}
{{- $_ := set $settings "digdirBaseUrl" ($settings.digdirBaseUrl | default $url) -}}
{{- $_ := set $settings "maskinportenWellKnownUrl" ($settings.maskinportenWellKnownUrl | default (printf "%s/.well-known/oauth-authorization-server" $url)) -}}
{{- if not .Values.simulator.seed -}}
{{- /* An own scope of the simulator's organisation, so that what only exposes scopes gets a client too. */ -}}
{{- $_ := set $settings "defaultClientScope" ($settings.defaultClientScope | default "nav:some/other/scope") -}}
{{- end -}}
{{- else -}}
{{- $production := eq .Values.environment "production" -}}
{{- $_ := set $settings "digdirBaseUrl" ($settings.digdirBaseUrl | default (ternary "https://api.samarbeid.digdir.no" "https://api.test.samarbeid.digdir.no" $production)) -}}
{{- $host := ternary "maskinporten.no" "test.maskinporten.no" $production -}}
{{- $_ := set $settings "maskinportenWellKnownUrl" ($settings.maskinportenWellKnownUrl | default (printf "https://%s/.well-known/oauth-authorization-server" $host)) -}}
{{- end -}}
{{- range $name, $value := $settings }}
{{- $variable := snakecase $name | upper }}
{{- if kindIs "slice" $value }}
{{- with $value }}
{{ include "mpo.variable" (list $variable (join " " .)) }}
{{- end }}
{{- else if kindIs "float64" $value }}
{{ include "mpo.variable" (list $variable (int64 $value)) }}
{{- else if or (eq $name "runAsUser") (hasSuffix "Address" $name | and (ne $name "webproxyAddress")) (ne (toString $value) "") }}
{{ include "mpo.variable" (list $variable $value) }}
{{- end }}
{{- end }}
{{- with .Values.namespaces }}
{{ include "mpo.variable" (list "NAMESPACES" (join " " .)) }}
{{- end }}
{{- with .Values.namespaceSelector }}
{{ include "mpo.variable" (list "NAMESPACE_SELECTOR" .) }}
{{- end }}
{{ include "mpo.variable" (list "LEADER_ELECTION" "true") }}
{{ include "mpo.variable" (list "LEASE_NAME" (include "mpo.leaseName" .)) }}
{{ include "mpo.variable" (list "LEASE_NAMESPACE" (include "mpo.leaseNamespace" .)) }}
{{- if or .Values.caBundle.configMap .Values.caBundle.secret }}
{{ include "mpo.variable" (list "CA_BUNDLE" "/var/run/secrets/maskinporten-operator-ca/ca.crt") }}
{{- end }}
{{- include "mpo.credentialVariables" . }}
{{- with .Values.proxy.url }}
- name: HTTPS_PROXY
  value: {{ quote . }}
- name: NO_PROXY
  value: {{ join "," $.Values.proxy.exclude | quote }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "mpo.variable" -}}
- name: MASKINPORTEN_OPERATOR_{{ first . }}
  value: {{ last . | quote }}
{{- end -}}

{{/* The credentials are files of a Secret, under names that don't depend on its keys. */}}
{{- define "mpo.credentialVariables" -}}
{{- $folder := "/var/run/secrets/maskinporten-operator" }}
{{- with ternary "admin-client" .Values.credentials.clientId .Values.simulator.enabled }}
{{ include "mpo.variable" (list "ADMIN_CLIENT_ID" .) }}
{{- else }}
- name: MASKINPORTEN_OPERATOR_ADMIN_CLIENT_ID
  valueFrom:
    secretKeyRef:
      name: {{ include "mpo.credentialsSecret" . | quote }}
      key: {{ .Values.credentials.keys.clientId | quote }}
{{- end }}
{{- if eq (include "mpo.credentialKind" .) "jwk" }}
{{ include "mpo.variable" (list "ADMIN_JWK_FILE" (printf "%s/jwk.json" $folder)) }}
{{- if .Values.settings.adminKeyRotation }}
{{ include "mpo.variable" (list "ADMIN_KEY_SECRET" (printf "%s/%s/%s" .Release.Namespace (include "mpo.credentialsSecret" .) .Values.credentials.keys.jwk)) }}
{{- end }}
{{- else if eq (include "mpo.credentialKind" .) "signer" }}
{{ include "mpo.variable" (list "ADMIN_SIGNER" .Values.credentials.signer) }}
{{- with .Values.credentials.keyId }}
{{ include "mpo.variable" (list "ADMIN_KEY_ID" .) }}
{{- end }}
{{- else }}
{{ include "mpo.variable" (list "ADMIN_CERT_CHAIN_FILE" (printf "%s/chain.pem" $folder)) }}
{{ include "mpo.variable" (list "ADMIN_KEY_FILE" (printf "%s/key.pem" $folder)) }}
{{- end }}
{{- end -}}

{{- define "mpo.credentialKind" -}}
{{- ternary "jwk" .Values.credentials.kind .Values.simulator.enabled -}}
{{- end -}}
