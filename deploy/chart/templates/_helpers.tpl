{{/* What several templates share. */}}

{{- define "mpo.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 53 | trimSuffix "-" -}}
{{- end -}}

{{- define "mpo.fullname" -}}
{{- $name := include "mpo.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | replace "." "-" | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | replace "." "-" | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels of everything; a selector must not have them, since they change with the version. */}}
{{- define "mpo.labels" -}}
app.kubernetes.io/name: {{ include "mpo.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels by which pods are found: (list <root> <component>). */}}
{{- define "mpo.selector" -}}
{{- $root := first . -}}
app.kubernetes.io/name: {{ include "mpo.name" $root | quote }}
app.kubernetes.io/instance: {{ $root.Release.Name | quote }}
app.kubernetes.io/component: {{ last . }}
{{- end -}}

{{- define "mpo.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "mpo.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* An image: (list <root> <its values>). */}}
{{- define "mpo.image" -}}
{{- $image := last . -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository ($image.tag | default (first .).Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* The port in an address such as 0.0.0.0:8080; empty for no address. */}}
{{- define "mpo.port" -}}
{{- regexReplaceAll "^.*:" . "" -}}
{{- end -}}

{{/* The port of a URL, also if it is the one that its scheme implies. */}}
{{- define "mpo.urlPort" -}}
{{- $url := urlParse . -}}
{{- regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (ternary "443" "80" (eq $url.scheme "https")) -}}
{{- end -}}

{{/* What Pod Security's restricted asks of a pod, and of a container. */}}
{{- define "mpo.podSecurity" -}}
runAsNonRoot: true
{{- with .Values.runAsUser }}
runAsUser: {{ int64 . }}
runAsGroup: {{ int64 . }}
fsGroup: {{ int64 . }}
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "mpo.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "mpo.simulator" -}}
{{- include "mpo.fullname" . | trunc 53 }}-simulator
{{- end -}}

{{/* The Secret with the key of the simulator's admin client. */}}
{{- define "mpo.simulatorSecret" -}}
{{- include "mpo.simulator" . }}-admin
{{- end -}}

{{- define "mpo.simulatorUrl" -}}
{{- printf "http://%s.%s.svc:%d" (include "mpo.simulator" .) .Release.Namespace (int .Values.simulator.port) -}}
{{- end -}}

{{/* The Secret with the operator's own credentials: the simulator's, one that exists, or one of the values. */}}
{{- define "mpo.credentialsSecret" -}}
{{- if .Values.simulator.enabled -}}
{{- include "mpo.simulatorSecret" . -}}
{{- else -}}
{{- .Values.credentials.existingSecret | default (printf "%s-credentials" (include "mpo.fullname" .)) -}}
{{- end -}}
{{- end -}}

{{/* Whether there are several replicas: "true" or empty. */}}
{{- define "mpo.replicated" -}}
{{- if gt (int .Values.replicas) 1 }}true{{ end -}}
{{- end -}}

{{- define "mpo.leaseName" -}}
{{- .Values.leaderElection.leaseName | default (include "mpo.fullname" .) -}}
{{- end -}}

{{- define "mpo.leaseNamespace" -}}
{{- .Values.leaderElection.leaseNamespace | default .Release.Namespace -}}
{{- end -}}
