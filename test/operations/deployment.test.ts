import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { parse } from 'yaml'
import { checkTypes, type KubernetesObject, mayReach, type Pod, podsOf, render } from '../support/kubernetes.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const read = (name: string) => readFileSync(`${root}/${name}`, 'utf8')
// Where a file of leaked passwords lies is none.
const isSecret = /(?<!^BREACHED_)PASSWORD|SECRET|KEY/
/** Every setting that a process reads. */
const settings = new Set([...read('.env.example').matchAll(/^(\w+)=/gm)].map(([, name]) => name))
const isSetting = (name: string) => settings.has(name.replace(/_FILE$/, ''))

t.test('docker-compose.yml', async (t) => {
  const text = read('docker-compose.yml')
  // biome-ignore lint/suspicious/noExplicitAny: YAML
  const services = Object.entries<any>(parse(text, { merge: true }).services)

  t.test('publishes the gateway and the web app alone', async (t) => {
    t.strictSame(
      services
        .filter(([, { ports, profiles }]) => ports && !profiles)
        .map(([name]) => name)
        .sort(),
      ['gateway', 'web'],
    )
    const asked = services.filter(([, { ports, profiles }]) => ports && profiles)
    t.match(asked, [['mailpit', { profiles: ['mail'], ports: [/^127\.0\.0\.1:/] }]])
    t.equal(asked.length, 1)
  })

  t.test('leads out by two networks alone; for auth only with docker-compose.mail.yml', async (t) => {
    const { networks } = parse(text)
    const open = Object.keys(networks).filter((name) => !networks[name].internal)
    t.strictSame(open, ['edge', 'mailbox'])
    const inside = services.filter(([, service]) => service.networks.some((name: string) => open.includes(name)))
    t.strictSame(inside.map(([name]) => name).sort(), ['gateway', 'mailpit', 'web'])
    t.strictSame(parse(read('docker-compose.mail.yml')), { networks: { mail: { internal: false } } })
  })

  t.test('gives no container more than it needs, or more of the machine than its share', async (t) => {
    for (const [name, service] of services) {
      t.match(service, { read_only: true, cap_drop: ['ALL'], security_opt: ['no-new-privileges:true'] }, name)
      t.match(service, { restart: /^(unless-stopped|on-failure)$/, pids_limit: Number }, name)
      t.match(service.deploy.resources.limits, { cpus: /^[\d.]+$/, memory: /^\d+[MG]$/ }, name)
      t.notOk(service.privileged || service.network_mode || service.pid, name)
      if (name !== 'postgres') t.notOk(service.cap_add, name)
    }
  })

  t.test('has the defaults of .env.example', async (t) => {
    const example = new Map(
      [...read('.env.example').matchAll(/^(\w+)=(.*)$/gm)].map(([, name, value]) => [name, value]),
    )
    for (const [service, { environment = {} }] of services)
      for (const [variable, value] of Object.entries(environment)) {
        const [, name = '', fallback = ''] = /^\$\{(\w+):-(.*)\}$/.exec(String(value)) ?? []
        // podman-compose knows no empty one.
        t.notMatch(value, /:-\}/, `${service} ${variable}`)
        // But for who is where.
        if (name === variable && !/_ORIGIN$|^TRUSTED_PROXIES$/.test(name))
          t.equal(fallback, example.get(name), `${service} ${variable}`)
      }
  })

  t.test('holds no secret, and cannot start without those that `npm run keys -- env` makes', async (t) => {
    const required = new Set([...text.matchAll(/\$\{(\w+):\?/g)].map(([, name]) => name as string))
    const made = execFileSync(process.execPath, [`${root}/cli/dist/keys.js`, 'env'], { encoding: 'utf8' })
    t.strictSame([...required].sort(), [...made.matchAll(/^(\w+)=/gm)].map(([, name]) => name as string).sort())
    for (const [name, { environment = {} }] of services)
      for (const [variable, value] of Object.entries(environment)) {
        if (name !== 'postgres') t.ok(isSetting(variable), `${name}: ${variable} is a setting`)
        if (isSecret.test(variable)) t.match(value, /^\$\{\w+(:\?.+)?\}$/, `${name} ${variable}`)
        t.notMatch(value, /:\/\/[^/@$]+:[^$][^/@]*@/, `${name} ${variable}: no password in an address`)
      }
  })
})

t.test('Dockerfile', async (t) => {
  const [, final = ''] = read('Dockerfile').split(/^FROM .* AS build$[\s\S]*?(?=^FROM)/m)

  t.test('starts without a shell, and not as root', async (t) => {
    t.match(final, /^USER 1000:1000$/m)
    t.match(final, /^ENTRYPOINT \[\]$/m)
    t.match(final, /^CMD \["node", /m)
    t.match(final, /^HEALTHCHECK .*\\\n {2}CMD \["node", /m)
    t.notMatch(final, /^RUN/m)
  })

  t.test('is built of what .dockerignore names, and of nothing else', async (t) => {
    const [everything, ...rest] = read('.dockerignore')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
    t.equal(everything, '*')
    for (const name of ['test', 'bench', 'local', '.git', '.env', '.data']) t.notOk(rest.includes(`!${name}`), name)
  })
})

const overlays = ['dev', 'production'] as const

t.test(
  'k8s',
  { skip: spawnSync('kubectl', ['version', '--client']).error ? 'install kubectl to run this' : false },
  async (t) => {
    const rendered = Object.fromEntries(overlays.map((overlay) => [overlay, render(overlay)]))
    const own = Object.values(rendered)
      .flat()
      .filter(({ apiVersion }) => apiVersion !== 'postgresql.cnpg.io/v1')

    t.test('every object is one that the Kubernetes API takes', async (t) => {
      t.strictSame(checkTypes(own), [])
      const [deployment] = own.filter(({ kind }) => kind === 'Deployment')
      const wrong = [
        { ...deployment, spec: { ...deployment.spec, replica: 2 } },
        { ...deployment, spec: { ...deployment.spec, selector: undefined } },
        { ...deployment, kind: 'Deploiment' },
      ]
      t.equal(checkTypes(wrong).length, wrong.length, 'what is misspelt, missing or unknown is found')
    })

    for (const overlay of overlays)
      t.test(overlay, async (t) => {
        const objects = rendered[overlay] as KubernetesObject[]
        const ofKind = (kind: string) => objects.filter((object) => object.kind === kind)
        const templates = [...ofKind('Deployment'), ...ofKind('Job')].map(({ metadata, spec }) => ({
          name: metadata.name as string,
          labels: spec.template.metadata.labels,
          ...spec.template.spec,
        }))
        const processes = ['appointments', 'auth', 'gateway', 'notifications', 'web']

        t.test('no pod has power over its node or the cluster', async (t) => {
          t.strictSame(
            templates.map(({ name }) => name).sort(),
            [...processes, 'migrate', 'migrate-appointments', 'valkey'].sort(),
          )
          for (const { name, containers, securityContext, ...pod } of templates) {
            t.match(
              pod,
              { automountServiceAccountToken: false, enableServiceLinks: false, serviceAccountName: name },
              name,
            )
            t.match(securityContext, { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } }, name)
            t.notOk(pod.hostNetwork || pod.hostPID || pod.hostIPC || pod.initContainers, name)
            t.equal(containers.length, 1, name)
            const [container] = containers
            t.strictSame(
              container.securityContext,
              { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } },
              name,
            )
            t.match(
              container.resources,
              { requests: { cpu: String, memory: String }, limits: { memory: String } },
              name,
            )
          }
          const accounts = ofKind('ServiceAccount').map(({ metadata }) => metadata.name)
          t.strictSame(accounts.sort(), templates.map(({ name }) => name).sort(), 'each has an account of its own')
          t.match(ofKind('Namespace'), [
            { metadata: { labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } } },
          ])
        })

        t.test('every process is probed on its management port, spread, drained and scaled', async (t) => {
          for (const name of processes) {
            const { labels, containers, terminationGracePeriodSeconds, topologySpreadConstraints } = templates.find(
              (template) => template.name === name,
            ) as KubernetesObject
            const [container] = containers
            t.match(container, {
              startupProbe: { httpGet: { path: '/healthz', port: 'management' } },
              livenessProbe: { httpGet: { path: '/healthz', port: 'management' } },
              readinessProbe: { httpGet: { path: '/readyz', port: 'management' } },
              lifecycle: { preStop: { sleep: { seconds: Number } } },
            })
            t.strictSame(container.ports.map(({ name }: { name: string }) => name).sort(), ['http', 'management'])
            t.ok(
              container.lifecycle.preStop.sleep.seconds + 5 < terminationGracePeriodSeconds,
              'there is time to close',
            )
            t.equal(topologySpreadConstraints.length, 2)
            t.match(ofKind('Deployment').find(({ metadata }) => metadata.name === name).spec.strategy, {
              rollingUpdate: { maxUnavailable: 0 },
            })
            for (const kind of ['Service', 'PodDisruptionBudget', 'HorizontalPodAutoscaler'])
              t.equal(ofKind(kind).filter(({ metadata }) => metadata.name === name).length, 1, `${kind} ${name}`)
            const { selector } = ofKind('Service').find(({ metadata }) => metadata.name === name).spec
            t.match(labels, selector)
          }
        })

        t.test('secrets are named and never there', async (t) => {
          t.strictSame(ofKind('Secret'), [])
          for (const { name, containers } of templates)
            for (const { name: variable, value } of containers[0].env ?? []) {
              if (isSecret.test(variable)) t.match(value ?? '/run/secrets/', /^\/run\/secrets\//, `${name} ${variable}`)
              t.notMatch(value ?? '', /:\/\/[^/@$]+:[^$][^/@]*@/, `${name} ${variable}: no password in an address`)
            }
        })

        t.test('every variable is a setting', async (t) => {
          const variables = [
            ...ofKind('ConfigMap')
              .filter(({ metadata }) => metadata.name.startsWith('settings'))
              .flatMap(({ data }) => Object.keys(data)),
            ...templates.flatMap(({ containers }) =>
              (containers[0].env ?? []).map(({ name }: KubernetesObject) => name),
            ),
          ].filter((name) => !['DATABASE_USER', 'DATABASE_PASSWORD'].includes(name))
          for (const variable of variables) t.ok(isSetting(variable), variable)
        })

        t.test('what a setting says is in a file is mounted there', async (t) => {
          for (const { name, containers, volumes } of templates)
            for (const { name: variable, value } of containers[0].env ?? []) {
              const file = variable.endsWith('_FILE') ? value : /sslrootcert=(.+)$/.exec(value ?? '')?.[1]
              if (!file) continue
              const [, folder, key] = /^(.+)\/([^/]+)$/.exec(file) as RegExpExecArray
              const mount = containers[0].volumeMounts.find((each: KubernetesObject) => each.mountPath === folder)
              const volume = volumes.find((each: KubernetesObject) => each.name === mount?.name)
              t.ok(volume?.secret && mount.readOnly, `${name} ${variable}`)
              t.ok(
                volume.secret.items?.every(({ path }: { path: string }) => path === key) ?? true,
                `${name} ${variable}`,
              )
            }
        })

        t.test('databases are talked to by TLS, as roles that own nothing but where tables are made', async (t) => {
          for (const { name, containers } of templates) {
            const variable = (key: string) =>
              containers[0].env?.find((each: { name: string }) => each.name === key) as KubernetesObject
            const url = variable('DATABASE_URL')?.value
            if (!url) continue
            t.match(url, /\?sslmode=verify-full&sslrootcert=\/run\/secrets\/[\w-]+\/ca\.crt$/, name)
            const { name: secret } = variable('DATABASE_USER').valueFrom.secretKeyRef
            t.equal(/-app$/.test(secret), name.startsWith('migrate'), name)
          }
        })

        t.test('the route table is gateway/routes.yaml, word for word', async (t) => {
          const [routes] = ofKind('ConfigMap').filter(({ metadata }) => metadata.name.startsWith('gateway-routes'))
          t.equal(routes.data['routes.yaml'], read('gateway/routes.yaml'))
          const gateway = templates.find(({ name }) => name === 'gateway')
          t.match(gateway?.volumes, [{ configMap: { name: routes.metadata.name } }])
        })

        t.test('who can reach whom, and nobody else anybody', async (t) => {
          const namespace = ofKind('Namespace')[0].metadata.name
          const at = (namespace: string, name: string, labels: Record<string, string> = {}): Pod => ({
            name,
            namespace,
            labels,
          })
          const pods = [
            ...podsOf(objects),
            at(namespace, 'postgres', { 'cnpg.io/cluster': 'postgres' }),
            at(namespace, 'appointments-postgres', { 'cnpg.io/cluster': 'appointments-postgres' }),
            at(namespace, 'a stranger here'),
            at('elsewhere', 'a gateway of others', {
              'app.kubernetes.io/name': 'gateway',
              'app.kubernetes.io/part-of': 'sallyport',
            }),
            at('ingress-nginx', 'the ingress controller', { 'app.kubernetes.io/name': 'ingress-nginx' }),
            at('ingress-nginx', 'its neighbour'),
            at('monitoring', 'Prometheus'),
            at('cnpg-system', 'the database operator'),
          ]
          const ports = [80, 443, 5000, 5001, 5002, 5003, 5173, 5432, 6379, 8000, 9000, 9187]
          const reached = pods.flatMap((from) =>
            pods
              // Outside our namespace we make no rules.
              .filter((to) => to !== from && to.namespace === namespace)
              .flatMap((to) =>
                ports
                  .filter((port) => mayReach(objects, from, to, port))
                  .map((port) => `${from.name} -> ${to.name}:${port}`),
              ),
          )
          const watched = [...processes, 'migrate', 'migrate-appointments']
          t.strictSame(
            reached.sort(),
            [
              'the ingress controller -> gateway:5000',
              'the ingress controller -> web:5173',
              // Only the gateway reaches the services, and with auth the stream of ended sessions.
              'gateway -> auth:5001',
              'gateway -> appointments:5002',
              'gateway -> notifications:5003',
              'gateway -> valkey:6379',
              'auth -> valkey:6379',
              // Only auth and the migration reach the database of users and sessions.
              'auth -> postgres:5432',
              'migrate -> postgres:5432',
              'appointments -> appointments-postgres:5432',
              'notifications -> appointments-postgres:5432',
              'migrate-appointments -> appointments-postgres:5432',
              ...['postgres', 'appointments-postgres'].flatMap((cluster) => [
                `the database operator -> ${cluster}:5432`,
                `the database operator -> ${cluster}:8000`,
                `Prometheus -> ${cluster}:9187`,
              ]),
              ...watched.map((name) => `Prometheus -> ${name}:9000`),
            ].sort(),
          )
          const names = at('kube-system', 'DNS', { 'k8s-app': 'kube-dns' })
          const world = at('the world', 'anyone')
          for (const pod of pods.filter((pod) => pod.namespace === namespace)) {
            t.ok(mayReach(objects, pod, names, 53, 'UDP'), `${pod.name} may ask for names`)
            t.notOk(mayReach(objects, pod, world, 80), `${pod.name} reaches nobody outside`)
            t.equal(
              mayReach(objects, pod, world, 443),
              'cnpg.io/cluster' in pod.labels,
              `${pod.name}: the Kubernetes API`,
            )
          }
        })
      })

    t.test('components/mail lets auth reach SMTP servers outside, and nobody else anything', async (t) => {
      const folder = mkdtempSync(`${root}/test/dist/overlay-`)
      t.teardown(() => rmSync(folder, { recursive: true }))
      const overlay = {
        namespace: 'sallyport',
        resources: ['../../../k8s/overlays/production'],
        components: ['../../../k8s/components/mail'],
      }
      writeFileSync(`${folder}/kustomization.yaml`, JSON.stringify(overlay))
      const before = new Set(rendered.production?.map((object) => JSON.stringify(object)))
      const added = render(`../../test/dist/${basename(folder)}`).filter(
        (object) => !before.has(JSON.stringify(object)),
      )
      t.strictSame(checkTypes(added), [])
      t.match(added, [
        {
          kind: 'NetworkPolicy',
          metadata: { namespace: 'sallyport' },
          spec: {
            podSelector: { matchLabels: { 'app.kubernetes.io/name': 'auth' } },
            policyTypes: ['Egress'],
            egress: [{ to: [{ ipBlock: { except: Array } }], ports: [{ port: 465 }, { port: 587 }] }],
          },
        },
      ])
      t.equal(added.length, 1)
    })

    t.test('production runs at least two of each, and serves TLS alone', async (t) => {
      const objects = rendered.production as KubernetesObject[]
      for (const { metadata, spec } of objects.filter(({ kind }) => kind === 'HorizontalPodAutoscaler'))
        t.ok(spec.minReplicas >= 2, metadata.name)
      const [ingress] = objects.filter(({ kind }) => kind === 'Ingress')
      t.strictSame(
        ingress.spec.tls.flatMap(({ hosts }: { hosts: string[] }) => hosts),
        ingress.spec.rules.map(({ host }: { host: string }) => host),
      )
      const [settings] = objects.filter(({ metadata }) => metadata.name.startsWith('settings'))
      for (const name of ['JWT_ISSUER', 'JWT_AUDIENCE', 'CORS_ORIGINS']) t.match(settings.data[name], /^https:/)
    })
  },
)
