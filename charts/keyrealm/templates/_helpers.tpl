{{/* The name of the program in labels. */}}
{{- define "keyrealm.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* The name of the release's objects; short enough for what is added to it. */}}
{{- define "keyrealm.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "keyrealm.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The name of objects that are in no namespace: two releases of one name in two namespaces have two. */}}
{{- define "keyrealm.clusterName" -}}
{{- printf "%s-%s" (include "keyrealm.fullname" .) .Release.Namespace -}}
{{- end -}}

{{- define "keyrealm.selector" -}}
app.kubernetes.io/name: {{ include "keyrealm.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "keyrealm.labels" -}}
{{- with .Values.commonLabels }}
{{- toYaml . }}
{{ end -}}
{{ include "keyrealm.selector" . }}
app.kubernetes.io/part-of: keyrealm
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "keyrealm.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "keyrealm.fullname" .) -}}
{{- end -}}

{{- define "keyrealm.lease" -}}
{{- .Values.lease.name | default (include "keyrealm.fullname" .) -}}
{{- end -}}

{{/* An image by digest or tag: (list root image). */}}
{{- define "keyrealm.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository ($image.tag | default $root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* Peers of a NetworkPolicy by address; none means any. */}}
{{- define "keyrealm.cidrs" -}}
{{- range . }}
- ipBlock:
    cidr: {{ . }}
{{- end -}}
{{- end -}}

{{/* What the schema cannot say: values that exclude each other. */}}
{{- define "keyrealm.validate" -}}
{{- if and (gt (int .Values.replicas) 1) (not .Values.lease.enabled) -}}
{{- fail (printf "replicas: %d needs lease.enabled: true, or several operators would write at once" (int .Values.replicas)) -}}
{{- end -}}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) -}}
{{- fail "serviceAccount.create: false needs serviceAccount.name: the account that is there" -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled (not (or .Values.networkPolicy.dns.podLabels .Values.networkPolicy.dns.cidrs)) -}}
{{- fail "networkPolicy.dns needs podLabels or cidrs, or the operator resolves no name" -}}
{{- end -}}
{{- end -}}
