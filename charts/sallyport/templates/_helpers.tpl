{{- define "sallyport.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end -}}

{{- /* Where browsers are: what tokens are issued under and for, unless the settings say otherwise. */ -}}
{{- define "sallyport.settings" -}}
{{- $origin := printf "https://%s" (required "host is required: the name under which browsers reach the page and the API" .Values.host) -}}
{{- $derived := dict "JWT_ISSUER" $origin "JWT_AUDIENCE" $origin "CORS_ORIGINS" $origin "APP_ORIGIN" $origin "SAMPLES" (ternary "on" "off" .Values.samples.enabled) -}}
{{- range $name, $value := merge (deepCopy .Values.settings) $derived }}
{{ $name }}: {{ $value | toString | quote }}
{{- end }}
{{- end -}}

{{- define "sallyport.routes" -}}
{{- if .Values.routes -}}
{{ .Values.routes }}
{{- else -}}
{{ .Files.Get (ternary "files/with-samples.yaml" "files/auth.yaml" .Values.samples.enabled) }}
{{- end }}
{{- with .Values.extraRoutes }}
{{ toYaml . | indent 2 }}
{{ end }}
{{- end -}}

{{- define "sallyport.redis" -}}
{{ .Values.valkey.url | default "redis://valkey:6379" }}
{{- end -}}

{{- /* Where a database is, for policies: as the values say, or the pods of the cluster that they name. */ -}}
{{- define "sallyport.postgresPeers" -}}
{{- toYaml (.reachedAt | default (list (dict "podSelector" (dict "matchLabels" (dict "cnpg.io/cluster" .cluster))))) }}
{{- end -}}
