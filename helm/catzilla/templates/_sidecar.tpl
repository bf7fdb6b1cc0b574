{{- /*
Pieces to include in a Deployment of one's own (README, "In your own chart"):

  catzilla.sidecarContainer   an item of initContainers: the native sidecar
  catzilla.volumes            items of volumes: the sockets' folder and the configuration
  catzilla.appVolumeMounts    an item of the app's volumeMounts: the sockets' folder
  catzilla.appEnv             an item of the app's env: where the sockets are
*/}}

{{- /* What the sidecar's container is, wherever it stands. */}}
{{- define "catzilla.container" -}}
name: catzilla
image: "{{ .Values.sidecar.image.repository }}:{{ .Values.sidecar.image.tag | default .Chart.AppVersion }}"
imagePullPolicy: {{ .Values.sidecar.image.pullPolicy }}
args:
  - --config=/etc/catzilla/catzilla.yaml
  {{- if and .Values.app.enabled .Values.app.command (eq (first .Values.app.command) "catzilla") }}
  - --expect-app
  {{- end }}
  {{- with .Values.sidecar.extraArgs }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.sidecar.env }}
env:
  {{- toYaml . | nindent 2 }}
{{- end }}
ports:
  - name: http
    containerPort: {{ include "catzilla.httpPort" . }}
  - name: ops
    containerPort: {{ include "catzilla.opsPort" . }}
# The app has no part in any of the three: it may start later than the sidecar, and crash beside it.
startupProbe:
  httpGet: {path: /startupz, port: ops}
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /livez, port: ops}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 3
readinessProbe:
  httpGet: {path: /readyz, port: ops}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 1
lifecycle:
  preStop:
    # Runs at once when the pod is deleted; a native sidecar's TERM comes only after the app has gone.
    exec:
      command: [catzillactl, drain, --address, {{ include "catzilla.controlAddress" . | quote }}]
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL]}
  seccompProfile: {type: RuntimeDefault}
resources:
  {{- toYaml .Values.sidecar.resources | nindent 2 }}
volumeMounts:
  - name: catzilla-run
    mountPath: {{ include "catzilla.runtimeDir" . }}
  # The folder, not the file: only so a changed ConfigMap is seen.
  - name: catzilla-config
    mountPath: /etc/catzilla
    readOnly: true
  {{- with .Values.sidecar.volumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "catzilla.sidecarContainer" -}}
{{- $container := include "catzilla.container" . | fromYaml }}
{{- if hasKey $container "Error" }}{{ fail (get $container "Error") }}{{ end }}
{{- toYaml (list (merge (dict "restartPolicy" "Always") $container)) }}
{{- end }}

{{- define "catzilla.volumes" -}}
- name: catzilla-run
  emptyDir:
    medium: Memory
    sizeLimit: 16Mi
- name: catzilla-config
  configMap:
    name: {{ include "catzilla.fullname" . }}
{{- end }}

{{- define "catzilla.appVolumeMounts" -}}
- name: catzilla-run
  mountPath: {{ include "catzilla.runtimeDir" . }}
{{- end }}

{{- define "catzilla.appEnv" -}}
- name: CATZILLA_RUNTIME_DIR
  value: {{ include "catzilla.runtimeDir" . }}
{{- end }}
