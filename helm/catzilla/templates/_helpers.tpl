{{- define "catzilla.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "catzilla.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- $name := include "catzilla.name" . }}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "catzilla.selectorLabels" -}}
app.kubernetes.io/name: {{ include "catzilla.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "catzilla.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "catzilla.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "catzilla.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "catzilla.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- /* The first listener is the one behind the service. */}}
{{- define "catzilla.httpPort" -}}
{{- (index .Values.config.listeners 0).port | int }}
{{- end }}

{{- define "catzilla.opsPort" -}}
{{- .Values.config.telemetry.ops_port | int }}
{{- end }}

{{- define "catzilla.runtimeDir" -}}
{{- .Values.config.control.runtime_dir }}
{{- end }}

{{- define "catzilla.controlAddress" -}}
unix:{{ .Values.config.control.socket | default (printf "%s/control.sock" (include "catzilla.runtimeDir" .)) }}
{{- end }}

{{- /* "1m30s" -> 90. Rounds parts of a second up. */}}
{{- define "catzilla.seconds" -}}
{{- $units := dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0 "d" 86400.0 }}
{{- $sum := 0.0 }}
{{- range regexFindAll "[0-9]+(ms|s|m|h|d)" (toString .) -1 }}
{{- $sum = addf $sum (mulf (regexFind "^[0-9]+" . | float64) (get $units (regexFind "[a-z]+$" .))) }}
{{- end }}
{{- ceil $sum | int }}
{{- end }}

{{- define "catzilla.gracePeriod" -}}
{{- $drain := add (include "catzilla.seconds" .Values.config.drain.delay | int) (include "catzilla.seconds" .Values.config.drain.timeout | int) }}
{{- $grace := .Values.terminationGracePeriodSeconds | default (add $drain 15) | int }}
{{- if lt $grace (int $drain) }}
{{- fail (printf "terminationGracePeriodSeconds %d is shorter than config.drain.delay + config.drain.timeout (%d s): requests in flight would be cut" $grace $drain) }}
{{- end }}
{{- $grace }}
{{- end }}
