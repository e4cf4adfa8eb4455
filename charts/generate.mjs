// Makes charts/sallyport of what k8s/ and the route files say, so that one place says what a pod is and who may reach whom:
//
//   npm run chart
//
// With --check it writes nothing, and exits with 1 if a template is stale. What is not here is in values.yaml,
// values.schema.json and templates/_helpers.tpl, by hand.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseAllDocuments, stringify } from 'yaml'

const root = fileURLToPath(new URL('..', import.meta.url))
const templates = join(root, 'charts/sallyport/templates')

/** What kustomize makes of the base with some components. */
function render(...components) {
  const folder = mkdtempSync(join(root, 'k8s/chart-'))
  try {
    const overlay = {
      resources: ['../base'],
      components: components.map((name) => `../components/${name}`),
    }
    writeFileSync(join(folder, 'kustomization.yaml'), JSON.stringify(overlay))
    const yaml = execFileSync('kubectl', ['kustomize', folder], { encoding: 'utf8' })
    // The pods' annotations say what the names of ConfigMaps say with kustomize.
    const plain = yaml.replaceAll(/\b(settings|gateway-routes)-[a-z0-9]{10}\b/g, '$1')
    return parseAllDocuments(plain).map((document) => document.toJS())
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Expressions, each with a word that stands for it until the YAML is written. */
const expressions = []
const keep = (expression) => `Expression${expressions.push(expression) - 1}End`
/** A value: `{{ ... }}`. */
const value = (text) => keep({ text: `{{ ${text} }}` })
/** A value of several lines, each with its indentation. */
const lines = (text) => keep({ text: `{{- ${text} }}` })
/** A value of several lines, and its key only if there is one. */
const block = (text) => keep({ block: text })

const samples = ['appointments', 'notifications', 'migrate-appointments', 'gateway-to-samples']
const conditions = {
  'auth-mail': '.Values.mail.enabled',
  postgres: '.Values.postgres.cluster',
  'appointments-postgres': '(and .Values.samples.enabled .Values.samples.postgres.cluster)',
}

/** The file that an object is in, and when it is there at all. */
function placeOf({ kind, metadata: { name } }) {
  if (samples.includes(name)) return { file: 'samples', when: '.Values.samples.enabled' }
  if (name === 'valkey') return { file: 'valkey', when: '(not .Values.valkey.url)' }
  if (kind === 'NetworkPolicy') return { file: 'network-policies', when: conditions[name] }
  if (kind === 'ServiceMonitor' || name === 'management')
    return { file: 'monitoring', when: '.Values.serviceMonitor.enabled' }
  if (kind === 'Gateway')
    return { file: 'gateway-api', when: '(and .Values.gatewayApi.enabled (not .Values.gatewayApi.parentRefs))' }
  if (kind === 'HTTPRoute') return { file: 'gateway-api', when: '.Values.gatewayApi.enabled' }
  if (kind === 'Ingress') return { file: 'ingress', when: '.Values.ingress.enabled' }
  return { file: name, when: undefined }
}

const secretNames = {
  'auth-keys': '.Values.secrets.authKeys',
  revocations: '.Values.secrets.revocations',
  'identity-private-key': '.Values.secrets.identityPrivateKey',
  'identity-public-key': '.Values.secrets.identityPublicKey',
  'postgres-app': '.Values.postgres.ownerSecret',
  'postgres-auth': '.Values.postgres.authSecret',
  'postgres-ca': '.Values.postgres.caSecret',
  'appointments-postgres-app': '.Values.samples.postgres.ownerSecret',
  'postgres-appointments': '.Values.samples.postgres.appointmentsSecret',
  'appointments-postgres-ca': '.Values.samples.postgres.caSecret',
}
const secret = (name) => {
  if (!secretNames[name]) throw new Error(`charts/generate.mjs knows no value for the secret ${name}`)
  return value(`${secretNames[name]} | quote`)
}

/** A list, and after it what the values add. */
const andMore = (list, text) => (list ? [...list, keep({ more: text })] : block(text))

function shapePod(object) {
  const { kind, metadata, spec } = object
  const { template } = spec
  const values = `(index .Values.processes ${JSON.stringify(metadata.name)})`
  const [container] = template.spec.containers
  for (const volume of template.spec.volumes ?? [])
    if (volume.secret) volume.secret.secretName = secret(volume.secret.secretName)
  for (const variable of container.env ?? []) {
    const ref = variable.valueFrom?.secretKeyRef
    if (ref) ref.name = secret(ref.name)
    if (variable.name === 'REDIS_URL') variable.value = value('include "sallyport.redis" . | quote')
    if (variable.name === 'DATABASE_URL') {
      const postgres = variable.value.includes('@appointments-') ? '.Values.samples.postgres' : '.Values.postgres'
      variable.value = variable.value.replace(
        /@[\w-]+:5432\/sallyport/,
        () => `@${value(`${postgres}.host`)}:${value(`${postgres}.port`)}/${value(`${postgres}.database`)}`,
      )
    }
  }
  if (container.image !== 'sallyport') return
  container.image = value('include "sallyport.image" . | quote')
  container.imagePullPolicy = value('.Values.image.pullPolicy')
  template.spec.imagePullSecrets = block('.Values.imagePullSecrets')
  container.env = andMore(container.env, `${values}.env`)
  if (kind === 'Deployment') {
    container.resources = block(`${values}.resources`)
    container.volumeMounts = andMore(container.volumeMounts, `${values}.volumeMounts`)
    template.spec.volumes = andMore(template.spec.volumes, `${values}.volumes`)
    template.metadata.annotations = {
      // A changed setting replaces the pods one by one.
      'checksum/settings': value('include "sallyport.settings" . | sha256sum'),
      ...(metadata.name === 'gateway' && { 'checksum/routes': value('include "sallyport.routes" . | sha256sum') }),
    }
  } else {
    // A Job is not changed: each revision of the release has its own, and the pods of Deployments wait for it.
    metadata.name = `${metadata.name}-${value('.Release.Revision')}`
  }
}

function shape(object) {
  const { kind, metadata, spec } = object
  const { name } = metadata
  // Last, so that what is read first is what it is.
  object.metadata = { ...metadata, namespace: value('.Release.Namespace') }
  if (kind === 'ConfigMap')
    object.data =
      name === 'settings'
        ? lines('include "sallyport.settings" . | nindent 2')
        : keep({ routes: '{{- include "sallyport.routes" . | nindent 4 }}' })
  if (kind === 'Deployment' || kind === 'Job') shapePod(object)
  const values = `(index .Values.processes ${JSON.stringify(name)})`
  if (kind === 'ServiceAccount' && name !== 'valkey')
    object.metadata.annotations = block(`${values}.serviceAccountAnnotations`)
  if (kind === 'HorizontalPodAutoscaler') {
    spec.minReplicas = value(`${values}.minReplicas`)
    spec.maxReplicas = value(`${values}.maxReplicas`)
  }
  if (kind === 'Gateway') {
    spec.gatewayClassName = value('.Values.gatewayApi.className | quote')
    spec.listeners[0].hostname = value('.Values.host | quote')
    spec.listeners[0].tls.certificateRefs[0].name = value('.Values.tls.secretName | quote')
  }
  if (kind === 'HTTPRoute') {
    spec.parentRefs = lines(
      'toYaml (.Values.gatewayApi.parentRefs | default (list (dict "name" "sallyport"))) | nindent 4',
    )
    spec.hostnames = [value('.Values.host | quote')]
  }
  if (kind === 'Ingress') {
    object.metadata.annotations = block('.Values.ingress.annotations')
    spec.ingressClassName = keep({ optional: '.Values.ingress.className' })
    spec.rules[0].host = value('.Values.host | quote')
    spec.tls = [{ hosts: [value('.Values.host | quote')], secretName: value('.Values.tls.secretName | quote') }]
  }
  if (kind === 'ServiceMonitor') object.metadata.labels = block('.Values.serviceMonitor.labels')
  if (kind === 'NetworkPolicy') shapePolicy(name, spec)
  return object
}

function shapePolicy(name, spec) {
  const peers = (text) => lines(`${text} | nindent 8`)
  const cluster = spec.podSelector.matchLabels?.['cnpg.io/cluster']
  if (cluster) return nameCluster(spec, cluster)
  if (name.endsWith('-entry')) spec.ingress[0].from = peers('toYaml .Values.entry.from')
  if (name === 'management') spec.ingress[0].from = peers('toYaml .Values.monitoring.from')
  if (name === 'auth-mail') {
    spec.egress[0].to = peers('toYaml .Values.mail.to')
    spec.egress[0].ports = peers('toYaml .Values.mail.ports')
  }
  for (const rule of spec.egress ?? []) {
    const database = rule.to?.[0].podSelector?.matchLabels['cnpg.io/cluster']
    if (!database) continue
    rule.to = peers(`include "sallyport.postgresPeers" ${postgresOf(database)}`)
    rule.ports[0].port = value(`${postgresOf(database)}.port`)
  }
}

const postgresOf = (cluster) => (cluster === 'postgres' ? '.Values.postgres' : '.Values.samples.postgres')

/** The policy of a cluster, and of its members among each other. */
function nameCluster(spec, cluster) {
  const selectors = [spec.podSelector, ...[...spec.ingress, ...spec.egress].flatMap(({ from, to }) => from ?? to ?? [])]
  for (const selector of selectors) {
    const labels = (selector.podSelector ?? selector).matchLabels
    if (labels?.['cnpg.io/cluster'] === cluster) labels['cnpg.io/cluster'] = value(`${postgresOf(cluster)}.cluster`)
  }
}

/** Writes an object, with its expressions in their places. */
function write(object) {
  const optional = (indent, test, lines) =>
    [`{{- with ${test} }}`, ...lines, '{{- end }}'].map((line) => indent + line).join('\n')
  return (
    stringify(object, { lineWidth: 0 })
      .replace(/^( *)- Expression(\d+)End$/gm, (line, indent, index) => {
        const { more } = expressions[index]
        return more ? optional(indent, more, [`{{- toYaml . | nindent ${indent.length} }}`]) : line
      })
      .replace(/^( *)([\w-]+): Expression(\d+)End$/gm, (line, indent, key, index) => {
        const { block, optional: one, routes } = expressions[index]
        if (routes) return `${indent}${key}:\n${indent}  routes.yaml: |\n    ${routes}`
        if (one) return optional(indent, one, [`${key}: {{ . | quote }}`])
        const inside = indent.length + 2
        return block ? optional(indent, block, [`${key}:`, `  {{- toYaml . | nindent ${inside} }}`]) : line
      })
      .replace(/Expression(\d+)End/g, (_, index) => expressions[index].text)
      // Of the gateway, and there with the samples alone.
      .replace(/(^ *- name: (APPOINTMENTS|NOTIFICATIONS)_URL\n.*\n)+/gm, (entries) => {
        const [indent] = /^ */.exec(entries)
        return `${indent}{{- if .Values.samples.enabled }}\n${entries}${indent}{{- end }}\n`
      })
  )
}

const objects = render('samples', 'valkey', 'monitoring', 'mail', 'postgres', 'samples-postgres').filter(
  ({ kind }) => kind !== 'Cluster',
)
const ingress = render('ingress').filter(({ kind }) => kind === 'Ingress')
const files = {}
for (const object of [...objects, ...ingress]) {
  const { file, when } = placeOf(object)
  const text = write(shape(object))
  files[file] = `${files[file] ?? ''}${when ? `{{- if ${when} }}\n---\n${text}{{- end }}\n` : `---\n${text}`}`
}

let stale = false
const isCheck = process.argv.includes('--check')
// A chart holds no links to what is outside of it: a package of it would hold them too.
for (const [name, source] of [
  ['auth', 'examples/routes/auth.yaml'],
  ['with-samples', 'gateway/routes.yaml'],
]) {
  const copy = join(root, `charts/sallyport/files/${name}.yaml`)
  const content = readFileSync(join(root, source), 'utf8')
  if (readFileSync(copy, 'utf8') === content) continue
  stale = true
  if (!isCheck) writeFileSync(copy, content)
}
const wanted = new Set(['_helpers.tpl', 'extra-upstreams.yaml', 'NOTES.txt'])
for (const [name, text] of Object.entries(files)) {
  const file = `${name}.yaml`
  wanted.add(file)
  const content = `{{- /* Made of k8s/ by npm run chart. */ -}}\n${text}`
  const before = readdirSync(templates).includes(file) ? readFileSync(join(templates, file), 'utf8') : ''
  if (before === content) continue
  stale = true
  if (!isCheck) writeFileSync(join(templates, file), content)
}
const others = readdirSync(templates).filter((file) => !wanted.has(file))
if (isCheck && (stale || others.length > 0)) {
  process.stderr.write(`charts/sallyport is stale: npm run chart ${others.join(' ')}\n`)
  process.exitCode = 1
}
