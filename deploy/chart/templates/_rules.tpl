{{/*
What the operator may do, each rule with what it is for. What isn't here is meant too: without Applications nothing is
deleted, and without `create` on maskinportenclients no late write can bring one back.
*/}}
{{- define "mpo.rules" -}}
# Seeing what users ask for; `patch` sets and removes the finalizer, and removes annotations that are done with.
- apiGroups: [nais.io]
  resources: [maskinportenclients]
  verbs: [get, list, watch, patch]
# Telling users how it went.
- apiGroups: [nais.io]
  resources: [maskinportenclients/status]
  verbs: [patch]
# Owning Secrets by owner references that block deletion; asked for where OwnerReferencesPermissionEnforcement is on.
- apiGroups: [nais.io]
  resources: [maskinportenclients/finalizers]
  verbs: [update]
# Delivering credentials. `list` and `watch` ask for our own only, but RBAC can't say that: for whole Secrets once at the
# start, and then for their metadata.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, patch]
# Noticing that a namespace is being deleted, or gets the labels that select it; of a list of them each is asked by itself.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [{{ ternary "get" "get, list, watch" (gt (len .Values.namespaces) 0) }}]
{{- if .Values.rbac.pods }}
# Seeing which pods use a Secret, before a key is given up that was in it, and why pods of an Application don't come up.
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
{{- end }}
# What `kubectl describe` shows.
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end -}}

{{/*
What settings.applications needs besides. What the settings let nobody make may be deleted only, since it may be left
over from other settings.
*/}}
{{- define "mpo.rulesForApplications" -}}
{{- $settings := .Values.settings -}}
{{- $make := "get, list, watch, create, patch, delete" -}}
{{- $clear := "get, list, watch, delete" -}}
{{- /* To open a NetworkPolicy while the policy for host names beside it is deleted. */ -}}
{{- $change := "get, list, watch, patch, delete" -}}
{{- $inbound := ternary "none" $settings.inbound (and (eq $settings.inbound "auto") (eq $settings.platform "generic")) -}}
{{- $egress := ternary "none" $settings.egress (and (eq $settings.egress "auto") (eq $settings.platform "generic")) -}}
# Seeing what users ask for. No `patch`, and no `create`: an Application is the user's alone.
- apiGroups: [nais.io]
  resources: [applications]
  verbs: [get, list, watch]
# Telling users how it went.
- apiGroups: [nais.io]
  resources: [applications/status]
  verbs: [patch]
# Owning children, as above.
- apiGroups: [nais.io]
  resources: [applications/finalizers]
  verbs: [update]
# Making each Application's client, and deleting it when it is turned off.
- apiGroups: [nais.io]
  resources: [maskinportenclients]
  verbs: [create, delete]
# The workload, the URLs that lead to it, the way out by what settings.egress allows, and the way in. `list` and `watch`
# ask for the metadata of our own only.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [{{ ternary $make $clear $settings.workloads }}]
- apiGroups: [""]
  resources: [services]
  verbs: [{{ ternary $make $clear $settings.workloads }}]
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [{{ ternary $make $clear (and $settings.workloads $settings.serviceAccounts) }}]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [{{ ternary $make $clear $settings.workloads }}]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [{{ ternary $make $clear $settings.workloads }}]
- apiGroups: [networking.k8s.io]
  resources: [ingresses]
  verbs: [{{ ternary $make $clear (and $settings.workloads (gt (len $settings.ingressClasses) 0)) }}]
- apiGroups: [monitoring.coreos.com]
  resources: [podmonitors]
  verbs: [{{ ternary $make $clear (and $settings.workloads $settings.podMonitors) }}]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [{{ ternary $make (ternary $change $clear (eq $egress "none")) (or (ne $inbound "none") (has $egress (list "auto" "networkpolicy" "fqdn-gke"))) }}]
- apiGroups: [networking.gke.io]
  resources: [fqdnnetworkpolicies]
  verbs: [{{ ternary $make $clear (has $egress (list "auto" "fqdn-gke")) }}]
- apiGroups: [cilium.io]
  resources: [ciliumnetworkpolicies]
  verbs: [{{ ternary $make $clear (has $egress (list "auto" "cilium")) }}]
{{- end -}}
