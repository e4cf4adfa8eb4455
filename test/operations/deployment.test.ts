import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { parse } from 'yaml'
import { faultsOf, renderChart, withoutHelm } from '../support/helm.ts'
import { checkTypes, type KubernetesObject, mayReach, type Pod, podsOf, render } from '../support/kubernetes.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const read = (name: string) => readFileSync(`${root}/${name}`, 'utf8')
// Where a file of leaked passwords lies is none.
const isSecret = /(?<!^BREACHED_)PASSWORD|SECRET|KEY(?!S_URL$)/
/** Every setting that a process reads. */
const settings = new Set([...read('.env.example').matchAll(/^(\w+)=/gm)].map(([, name]) => name))
const isSetting = (name: string) => settings.has(name.replace(/_FILE$/, ''))

t.test('docker-compose.yml', async (t) => {
  const text = read('docker-compose.yml')
  // biome-ignore lint/suspicious/noExplicitAny: YAML
  const services = Object.entries<any>(parse(text, { merge: true }).services)

  t.test('publishes the gateway and the web app alone, to this machine unless told', async (t) => {
    t.strictSame(
      services
        .filter(([, { ports, profiles }]) => ports && !profiles)
        .map(([name]) => name)
        .sort(),
      ['gateway', 'web'],
    )
    for (const [name, { ports = [] }] of services)
      for (const port of ports) t.match(port, /^(\$\{BIND_ADDRESS:-127\.0\.0\.1\}|127\.0\.0\.1):/, name)
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
      t.match(service, { restart: /^(unless-stopped|on-failure|no)$/, pids_limit: Number }, name)
      t.match(
        service.logging,
        { options: { 'max-size': /^\d+m$/, 'max-file': /^\d+$/ } },
        `${name}: its log has an end`,
      )
      t.match(service.deploy.resources.limits, { cpus: /^[\d.]+$/, memory: /^\d+[MG]$/ }, name)
      t.notOk(service.privileged || service.network_mode || service.pid, name)
      if (name !== 'postgres') t.notOk(service.cap_add, name)
    }
  })

  t.test('runs programs that the image has', async (t) => {
    for (const [name, { image, command = [], entrypoint = [] }] of services) {
      if (image !== 'sallyport') continue
      const words: string[] = [...entrypoint, ...command]
      const file = words.find((word) => word.endsWith('.js'))
      t.ok(words[0] === 'sallyport' || (file && existsSync(`${root}/${file}`)), `${name}: ${words.join(' ')}`)
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

  t.test(
    'holds no secret: each is a file that `npm run keys -- files` makes, and none is in the environment',
    async (t) => {
      const folder = mkdtempSync(`${root}/test/dist/secrets-`)
      t.teardown(() => rmSync(folder, { recursive: true }))
      execFileSync(process.execPath, [`${root}/cli/dist/sallyport.js`, 'keys', 'files', folder])
      const { secrets } = parse(text)
      const fileOf = (path: string) => path.replace('./.secrets', folder)
      for (const [name, { file }] of Object.entries<{ file: string }>(secrets)) t.ok(existsSync(fileOf(file)), name)
      for (const [name, service] of services) {
        const { environment = {}, volumes = [], secrets: named = [] } = service
        const mounted = new Set([
          ...named.map((secret: string) => `/run/secrets/${secret}`),
          ...volumes
            .filter(({ source }: { source?: string }) => source?.startsWith('./.secrets'))
            .flatMap(({ source, target, read_only }: { source: string; target: string; read_only?: boolean }) => {
              t.equal(read_only ?? false, name !== 'keys', `${name}: who only reads keys cannot change them`)
              return readdirSync(fileOf(source)).map((file) => `${target}/${file}`)
            }),
        ])
        for (const secret of named) t.ok(secrets[secret], `${name}: ${secret}`)
        for (const [variable, value] of Object.entries(environment)) {
          if (name !== 'postgres') t.ok(isSetting(variable), `${name}: ${variable} is a setting`)
          // Without a value it is what .env or the shell has.
          if (isSecret.test(variable) && value !== null) {
            t.match(variable, /_FILE$/, `${name} ${variable}`)
            t.ok(mounted.has(value), `${name}: ${value} is mounted`)
          }
          t.notMatch(value, /:\/\/[^/@]+:[^/@]*@/, `${name} ${variable}: no password in an address`)
        }
      }
      t.notMatch(text, /\$\{\w*(PASSWORD|SECRET|KEY)\w*/)
    },
  )

  t.test('docker-compose.without-samples.yml leaves them out, and everything that is for them', async (t) => {
    const { services: changed } = parse(read('docker-compose.without-samples.yml'))
    const left = Object.entries<KubernetesObject>(changed).filter(([, { profiles }]) => profiles)
    t.strictSame(left.map(([name]) => name).sort(), ['appointments', 'notifications'])
    const routes = changed.gateway.environment.GATEWAY_ROUTES.replace('/etc/sallyport', 'examples/routes')
    t.equal(changed.gateway.volumes[0], './examples/routes:/etc/sallyport:ro')
    t.notMatch(read(routes), /APPOINTMENTS_URL|NOTIFICATIONS_URL/)
    for (const { environment = {} } of Object.values<KubernetesObject>(changed))
      for (const name of Object.keys(environment)) t.ok(isSetting(name), name)
    t.match(changed, {
      migrate: { environment: { APPOINTMENTS_DATABASE_ROLE: '', APPOINTMENTS_DATABASE_PASSWORD_FILE: '' } },
      web: { environment: { SAMPLES: 'off' } },
    })
  })
})

t.test('Dockerfile', async (t) => {
  const [, final = ''] = read('Dockerfile').split(/^FROM .* AS build$[\s\S]*?(?=^FROM)/m)

  t.test('has `sallyport` on its path, which is a program', async (t) => {
    t.match(final, /^ENV PATH=\$PATH:\/app\/node_modules\/\.bin$/m)
    const { bin } = JSON.parse(read('cli/package.json'))
    t.match(read(`cli/${bin.sallyport}`), /^#!\/usr\/bin\/env node\n/)
    t.ok(statSync(`${root}/cli/${bin.sallyport}`).mode & 0o111, 'it can be executed')
  })

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

// Checking types takes a compiler a while.
t.setTimeout(180_000)

const overlays = ['dev', 'production'] as const

/** Jobs of the chart have the revision of the release in their names. */
const withPlainJobs = (objects: KubernetesObject[]) =>
  objects.map((object) =>
    object.kind === 'Job'
      ? { ...object, metadata: { ...object.metadata, name: object.metadata.name.replace(/-1$/, '') } }
      : object,
  )

t.test(
  'k8s',
  { skip: spawnSync('kubectl', ['version', '--client']).error ? 'install kubectl to run this' : false },
  async (t) => {
    const rendered: Record<string, KubernetesObject[]> = Object.fromEntries(
      overlays.map((overlay) => [overlay, render(`${root}/k8s/overlays/${overlay}`)]),
    )
    const host = 'app.example.com'
    if (!withoutHelm) rendered.chart = withPlainJobs(renderChart({ host, samples: { enabled: true } }))
    const own = Object.values(rendered)
      .flat()
      .filter(({ apiVersion }) => apiVersion !== 'postgresql.cnpg.io/v1')

    t.test('every object is one that the Kubernetes API takes', async (t) => {
      t.strictSame(checkTypes(own), [])
      const [deployment] = own.filter(({ kind }) => kind === 'Deployment')
      const [route] = own.filter(({ kind }) => kind === 'HTTPRoute')
      const wrong = [
        { ...deployment, spec: { ...deployment.spec, replica: 2 } },
        { ...deployment, spec: { ...deployment.spec, selector: undefined } },
        { ...deployment, kind: 'Deploiment' },
        { ...route, spec: { ...route.spec, hostname: [] } },
      ]
      t.equal(checkTypes(wrong).length, wrong.length, 'what is misspelt, missing or unknown is found')
    })

    for (const [overlay, objects] of Object.entries(rendered))
      t.test(overlay, async (t) => {
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
            const program = container.command?.find((word: string) => word.endsWith('.js'))
            if (program) t.ok(existsSync(`${root}/${program}`), `${name}: ${program}`)
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
          // Helm is told a namespace that is there.
          if (overlay !== 'chart')
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
          const { namespace } = ofKind('Service')[0].metadata
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
            at('envoy-gateway-system', 'the proxy', {
              'app.kubernetes.io/name': 'envoy',
              'app.kubernetes.io/component': 'proxy',
            }),
            at('envoy-gateway-system', 'its neighbour'),
            at('ingress-nginx', 'an ingress controller', { 'app.kubernetes.io/name': 'ingress-nginx' }),
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
              'the proxy -> gateway:5000',
              'the proxy -> web:5173',
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
          const cache = { ...at('kube-system', 'NodeLocal DNSCache'), address: '169.254.20.10' }
          const node = { ...at('kube-system', 'a node'), address: '169.254.169.254' }
          const world = at('the world', 'anyone')
          for (const pod of pods.filter((pod) => pod.namespace === namespace)) {
            t.ok(mayReach(objects, pod, names, 53, 'UDP'), `${pod.name} may ask for names`)
            t.ok(mayReach(objects, pod, cache, 53, 'UDP'), `${pod.name} may ask its node for names`)
            t.notOk(mayReach(objects, pod, node, 53, 'UDP'), `${pod.name}: no other address of the node`)
            t.notOk(mayReach(objects, pod, world, 80), `${pod.name} reaches nobody outside`)
            t.equal(
              mayReach(objects, pod, world, 443),
              'cnpg.io/cluster' in pod.labels,
              `${pod.name}: the Kubernetes API`,
            )
          }
        })
      })

    /** An overlay, after a change to its text. */
    function renderCopy(
      t: Test,
      overlay: string,
      change: (text: string) => string,
      files: Record<string, string> = {},
    ) {
      const folder = mkdtempSync(`${root}/test/dist/overlay-`)
      t.teardown(() => rmSync(folder, { recursive: true }))
      for (const name of readdirSync(`${root}/k8s/overlays/${overlay}`)) {
        const text = read(`k8s/overlays/${overlay}/${name}`)
        const changed = name === 'kustomization.yaml' ? change(text) : text
        writeFileSync(`${folder}/${name}`, changed.replaceAll('../../', '../../../k8s/'))
      }
      for (const [name, text] of Object.entries(files)) writeFileSync(`${folder}/${name}`, text)
      return render(folder)
    }

    const addComponent = (text: string, name: string) =>
      text.replace(/^components:\n(( +- .*\n| +#.*\n)+)/m, `components:\n$1  - ../../components/${name}\n`)

    /** Production with a component, and what of it is there by that. */
    function renderWith(t: Test, component: string) {
      const before = new Set(rendered.production?.map((object) => JSON.stringify(object)))
      const objects = renderCopy(t, 'production', (text) => addComponent(text, component))
      const added = objects.filter((object) => !before.has(JSON.stringify(object)))
      t.strictSame(checkTypes(added), [])
      return { objects, added }
    }

    t.test('components/mail lets auth reach SMTP servers outside, and nobody else anything', async (t) => {
      const { added } = renderWith(t, 'mail')
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

    t.test('components/forward-auth lets a proxy ask the gateway', async (t) => {
      const { added } = renderWith(t, 'forward-auth')
      t.strictSame(added.map(({ kind, metadata }) => `${kind} ${metadata.name}`).sort(), [
        'Deployment gateway',
        'NetworkPolicy gateway-forward-auth',
        'Service gateway',
      ])
      const named = (kind: string) => added.find((object) => object.kind === kind).spec
      t.match(named('Deployment').template.spec.containers[0].env, [{ name: 'FORWARD_AUTH_PORT', value: '5100' }])
      t.match(named('Service').ports, [{ port: 5000 }, { port: 5100, targetPort: 'forward-auth' }])
      t.match(named('NetworkPolicy').ingress, [{ ports: [{ port: 5100 }] }])
    })

    t.test('components/service-accounts lets notifications and a nightly job call the gateway', async (t) => {
      const { objects, added } = renderWith(t, 'service-accounts')
      const named = (kind: string) => added.filter((object) => object.kind === kind)
      t.strictSame(added.map(({ kind, metadata }) => `${kind} ${metadata.name}`).sort(), [
        'CronJob nightly',
        'Deployment notifications',
        'NetworkPolicy gateway-from-services',
        'NetworkPolicy nightly-to-gateway',
        'NetworkPolicy notifications-to-gateway',
        'ServiceAccount nightly',
      ])
      const nightly = named('CronJob')[0].spec.jobTemplate.spec.template
      const { spec: pod } = nightly
      const ofJobs = objects.find(({ kind, metadata }) => kind === 'Job' && metadata.name === 'migrate').spec.template
        .spec
      for (const field of ['automountServiceAccountToken', 'enableServiceLinks', 'securityContext'])
        t.strictSame(pod[field], ofJobs[field], `the power of ${field} is that of every pod`)
      t.strictSame(pod.containers[0].securityContext, ofJobs.containers[0].securityContext)
      for (const { containers, volumes } of [pod, named('Deployment')[0].spec.template.spec])
        for (const { name, value } of containers[0].env) {
          if (!isSetting(name)) t.match(name, /^DATABASE_/)
          const [, folder] = /^(\/run\/secrets\/[\w-]+)\//.exec(value ?? '') ?? []
          if (!name.endsWith('_FILE')) continue
          const mount = containers[0].volumeMounts.find((each: KubernetesObject) => each.mountPath === folder)
          t.ok(volumes.find((each: KubernetesObject) => each.name === mount?.name)?.secret, `${name} is mounted`)
        }
      const pods = [...podsOf(objects), { name: 'nightly', namespace: 'sallyport', labels: nightly.metadata.labels }]
      const reached = (from: Pod | undefined) =>
        pods.filter(
          (to) =>
            from &&
            to !== from &&
            [5000, 5001, 5002, 5003, 5173, 6379].some((port) => mayReach(objects, from, to, port)),
        )
      for (const name of ['nightly', 'notifications'])
        t.strictSame(
          reached(pods.find((pod) => pod.name === name)).map((to) => to.name),
          ['gateway'],
          name,
        )
    })

    t.test('production runs at least two of each, and serves TLS alone', async (t) => {
      const objects = rendered.production as KubernetesObject[]
      for (const { metadata, spec } of objects.filter(({ kind }) => kind === 'HorizontalPodAutoscaler'))
        t.ok(spec.minReplicas >= 2, metadata.name)
      const [entry] = objects.filter(({ kind }) => kind === 'Gateway')
      const [route] = objects.filter(({ kind }) => kind === 'HTTPRoute')
      t.match(entry.spec.listeners, [{ protocol: 'HTTPS', tls: { certificateRefs: [{ name: 'app-tls' }] } }])
      t.strictSame(
        entry.spec.listeners.map(({ hostname }: { hostname: string }) => hostname),
        route.spec.hostnames,
      )
      const [settings] = objects.filter(({ metadata }) => metadata.name.startsWith('settings'))
      for (const name of ['JWT_ISSUER', 'JWT_AUDIENCE', 'CORS_ORIGINS']) t.match(settings.data[name], /^https:/)
    })

    t.test('the host is in one place: a copy with another has the old one nowhere', async (t) => {
      for (const [overlay, host] of Object.entries({ production: 'app.example.com', dev: 'app.localhost' })) {
        const copy = (text: string) => text.replace(`://${host}`, '://id.other.test')
        const changes = { plain: copy, ingress: (text: string) => copy(addComponent(text, 'ingress')) }
        for (const [name, change] of Object.entries(changes)) {
          const text = JSON.stringify(renderCopy(t, overlay, change))
          t.notMatch(text, host, `${overlay}, ${name}`)
          t.match(text, /"hostnames":\["id\.other\.test"\]|"host":"id\.other\.test"/, `${overlay}, ${name}`)
        }
      }
    })

    t.test(
      'components/ingress is an Ingress in the place of the Gateway, and its controller alone comes in',
      async (t) => {
        const { objects, added } = renderWith(t, 'ingress')
        t.strictSame(added.map(({ kind, metadata }) => `${kind} ${metadata.name}`).sort(), [
          'Ingress sallyport',
          'NetworkPolicy gateway-entry',
          'NetworkPolicy web-entry',
        ])
        t.strictSame(
          objects.filter(({ kind }) => kind === 'Gateway' || kind === 'HTTPRoute'),
          [],
        )
        const { metadata, spec } = added.find(({ kind }) => kind === 'Ingress')
        t.match(spec, {
          tls: [{ hosts: ['app.example.com'], secretName: 'app-tls' }],
          rules: [{ host: 'app.example.com' }],
        })
        t.notOk(spec.ingressClassName, 'the class is the cluster’s')
        t.equal(metadata.annotations['nginx.ingress.kubernetes.io/proxy-body-size'], '10m')
        const [route] = (rendered.production ?? []).filter(({ kind }) => kind === 'HTTPRoute')
        const paths = (rules: KubernetesObject[]) => rules.map(({ path }) => path.value ?? path).sort()
        t.strictSame(
          spec.rules[0].http.paths.map(({ path }: KubernetesObject) => path).sort(),
          route.spec.rules.flatMap(({ matches }: KubernetesObject) => paths(matches)).sort(),
          'the same paths',
        )
        const controller = {
          name: 'x',
          namespace: 'ingress-nginx',
          labels: { 'app.kubernetes.io/name': 'ingress-nginx' },
        }
        const proxy = { 'app.kubernetes.io/name': 'envoy', 'app.kubernetes.io/component': 'proxy' }
        const gateway = podsOf(objects).find(({ name }) => name === 'gateway') as Pod
        t.ok(mayReach(objects, controller, gateway, 5000))
        t.notOk(mayReach(objects, { name: 'y', namespace: 'envoy-gateway-system', labels: proxy }, gateway, 5000))
      },
    )

    t.test('components/monitoring shows every process to Prometheus, by its name', async (t) => {
      const { added } = renderWith(t, 'monitoring')
      t.strictSame(added.map(({ kind, metadata }) => `${kind} ${metadata.name}`).sort(), [
        'Service management',
        'ServiceMonitor sallyport',
      ])
      const [service, monitor] = ['Service', 'ServiceMonitor'].map((kind) =>
        added.find((object) => object.kind === kind),
      )
      t.match(service.metadata.labels, monitor.spec.selector.matchLabels)
      t.match(service.spec.ports, [{ name: monitor.spec.endpoints[0].port, port: 9000, targetPort: 'management' }])
      for (const { name, labels } of podsOf(rendered.production as KubernetesObject[]))
        if (name !== 'valkey') t.match(labels, service.spec.selector, name)
      t.match(monitor.spec.endpoints[0].relabelings, [{ targetLabel: 'job' }])
    })

    t.test('without the samples nothing of them is left, with a route table of one’s own', async (t) => {
      const objects = renderCopy(
        t,
        'production',
        (text) =>
          text
            .replace(/ {2}- .*samples.*\n/g, '')
            .replace(
              'configMapGenerator:\n',
              'configMapGenerator:\n  - { name: gateway-routes, files: [routes.yaml] }\n',
            ),
        { 'routes.yaml': read('examples/routes/auth.yaml') },
      )
      t.strictSame(checkTypes(objects.filter(({ apiVersion }) => apiVersion !== 'postgresql.cnpg.io/v1')), [])
      t.notMatch(JSON.stringify(objects), /appointments|notifications/i)
      t.strictSame(
        podsOf(objects)
          .map(({ name }) => name)
          .sort(),
        ['auth', 'gateway', 'migrate', 'valkey', 'web'],
      )
      const settings = objects.find(({ metadata }) => metadata.name.startsWith('settings'))
      t.equal(settings.data.SAMPLES, 'off')
      t.equal(rendered.production?.find(({ metadata }) => metadata.name.startsWith('settings')).data.SAMPLES, 'on')
    })

    t.test('at their most the pods leave PostgreSQL connections for others', async (t) => {
      for (const [overlay, objects] of Object.entries(rendered)) {
        const [settings] = objects.filter(({ metadata }) => metadata.name.startsWith('settings'))
        const pool = Number(settings.data.DATABASE_CONNECTIONS)
        // A pool, of which logins have their share; one connection that listens; in auth two of those who send mail.
        const perPod: Record<string, number> = { auth: pool + 1 + 2, appointments: pool + 1, notifications: 1 }
        const users = { postgres: ['auth'], 'appointments-postgres': ['appointments', 'notifications'] }
        for (const [cluster, names] of Object.entries(users)) {
          const found = objects.find(({ kind, metadata }) => kind === 'Cluster' && metadata.name === cluster)
          const most = Number(found?.spec.postgresql.parameters.max_connections ?? 200)
          const sum = names.reduce((sum, name) => {
            const { spec } = objects.find(
              ({ kind, metadata }) => kind === 'HorizontalPodAutoscaler' && metadata.name === name,
            )
            // During a rollout there is one pod more.
            return sum + (spec.maxReplicas + 1) * (perPod[name] as number)
          }, 1)
          t.ok(
            sum + 20 <= most,
            `${overlay}: ${cluster} has ${most}, of which the pods take ${sum} and 20 are for others`,
          )
        }
      }
    })

    t.test('the chart', { skip: withoutHelm }, async (t) => {
      t.test('is made of k8s/, and is not stale', async (t) => {
        const { status, stderr } = spawnSync(process.execPath, [`${root}/charts/generate.mjs`, '--check'], {
          encoding: 'utf8',
        })
        t.equal(status, 0, stderr)
      })

      t.test('makes the objects of overlays/production, and no other', async (t) => {
        const values = {
          host,
          samples: { enabled: true },
          image: { repository: 'registry.example.com/sallyport', tag: '0.1.0' },
        }
        const normal = (objects: KubernetesObject[]) => {
          const plain = JSON.stringify(objects).replaceAll(/\b(settings|gateway-routes)-[a-z0-9]{10}\b/g, '$1')
          const found = (JSON.parse(plain) as KubernetesObject[]).filter(
            ({ kind }) => kind !== 'Namespace' && kind !== 'Cluster',
          )
          for (const { spec } of found) {
            // What the names of ConfigMaps say there, and what is the default here.
            if (spec?.template) delete spec.template.metadata.annotations
            for (const container of spec?.template?.spec.containers ?? []) delete container.imagePullPolicy
          }
          return Object.fromEntries(
            found
              .map((object) => [`${object.kind} ${object.metadata.name}`, object])
              .sort(([a], [b]) => (a < b ? -1 : 1)),
          )
        }
        const [mine, theirs] = [
          normal(withPlainJobs(renderChart(values))),
          normal(rendered.production as KubernetesObject[]),
        ]
        t.strictSame(Object.keys(mine), Object.keys(theirs))
        for (const [name, object] of Object.entries(mine)) t.strictSame(object, theirs[name], name)
      })

      t.test('makes objects that the Kubernetes API takes, whatever its values are', async (t) => {
        const extras = {
          env: [{ name: 'SMTP_URL_FILE', value: '/run/secrets/smtp/url' }],
          volumes: [{ name: 'smtp', secret: { secretName: 'smtp' } }],
          volumeMounts: [{ name: 'smtp', mountPath: '/run/secrets/smtp', readOnly: true }],
          serviceAccountAnnotations: { 'example.com/role': 'auth' },
          resources: {},
        }
        const digest = `sha256:${'0'.repeat(64)}`
        const objects = renderChart({
          host: 'id.other.test',
          image: { digest },
          imagePullSecrets: [{ name: 'registry' }],
          gatewayApi: { enabled: false },
          ingress: { enabled: true, className: 'traefik', annotations: {} },
          entry: { from: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'traefik' } } }] },
          postgres: {
            cluster: '',
            reachedAt: [{ ipBlock: { cidr: '10.2.3.4/32' } }],
            host: 'db.example.com',
            port: 6432,
          },
          valkey: { url: 'rediss://redis.example.com:6380' },
          mail: { enabled: true },
          serviceMonitor: { enabled: true, labels: { release: 'prometheus' } },
          processes: { auth: { ...extras, minReplicas: 3, maxReplicas: 6 } },
          settings: { LOG_LEVEL: 'debug', JWT_AUDIENCE: 'https://api.other.test' },
          extraRoutes: [
            {
              prefix: '/api/billing',
              upstreams: ['http://billing:8080'],
              access: 'authenticated',
              audience: 'billing',
            },
          ],
          extraUpstreams: [{ name: 'billing', port: 8080 }],
        })
        t.strictSame(checkTypes(objects), [])
        const named = (kind: string, name: string) =>
          objects.find((object) => object.kind === kind && object.metadata.name === name)
        const { spec } = named('Deployment', 'auth').spec.template
        t.match(spec, { imagePullSecrets: [{ name: 'registry' }], volumes: [...Array(4).fill({}), extras.volumes[0]] })
        t.match(spec.containers[0].image, `@${digest}`)
        t.match(spec.containers[0].env.at(-1), extras.env[0])
        t.match(JSON.stringify(spec.containers[0].env), '@db.example.com:6432/sallyport')
        t.match(named('HorizontalPodAutoscaler', 'auth').spec, { minReplicas: 3, maxReplicas: 6 })
        t.match(named('ServiceAccount', 'auth').metadata.annotations, extras.serviceAccountAnnotations)
        t.match(named('ConfigMap', 'settings').data, {
          JWT_ISSUER: 'https://id.other.test',
          JWT_AUDIENCE: 'https://api.other.test',
          LOG_LEVEL: 'debug',
          SAMPLES: 'off',
        })
        t.match(named('Ingress', 'sallyport').spec, {
          ingressClassName: 'traefik',
          tls: [{ hosts: ['id.other.test'] }],
        })
        t.match(named('NetworkPolicy', 'auth').spec.egress[0], { to: [{ ipBlock: {} }], ports: [{ port: 6432 }] })
        t.strictSame(
          objects.filter(
            ({ kind, metadata }) => kind === 'Gateway' || kind === 'HTTPRoute' || metadata.name === 'valkey',
          ),
          [],
        )
        t.notMatch(JSON.stringify(objects), /appointments|notifications|app\.example\.com/i)
        const { routes } = parse(named('ConfigMap', 'gateway-routes').data['routes.yaml'])
        t.match(routes.at(-1), { prefix: '/api/billing', upstreams: ['http://billing:8080'] })
        t.strictSame(routes.slice(0, -1), parse(read('examples/routes/auth.yaml')).routes)
        const service: Pod = { name: 'b', namespace: 'sallyport', labels: { 'app.kubernetes.io/name': 'billing' } }
        const [gateway, web] = ['gateway', 'web'].map((name) => podsOf(objects).find((pod) => pod.name === name) as Pod)
        t.ok(mayReach(objects, gateway as Pod, service, 8080))
        t.notOk(mayReach(objects, web as Pod, service, 8080))
      })

      t.test('has the settings of k8s/base, and a Gateway of others if it is told', async (t) => {
        const production = rendered.production as KubernetesObject[]
        const { data } = production.find(({ metadata }) => metadata.name.startsWith('settings'))
        const { settings } = parse(read('charts/sallyport/values.yaml'))
        const derived = ['JWT_ISSUER', 'JWT_AUDIENCE', 'CORS_ORIGINS', 'APP_ORIGIN', 'SAMPLES']
        t.strictSame(
          Object.keys(settings).sort(),
          Object.keys(data)
            .filter((name) => !derived.includes(name))
            .sort(),
        )
        const parentRefs = [{ name: 'public', namespace: 'gateways', sectionName: 'https' }]
        const objects = renderChart({ host, gatewayApi: { parentRefs }, routes: 'routes: []\n' })
        t.strictSame(
          objects.filter(({ kind }) => kind === 'Gateway'),
          [],
        )
        t.strictSame(objects.find(({ kind }) => kind === 'HTTPRoute').spec.parentRefs, parentRefs)
        const routes = objects.find(({ metadata }) => metadata.name === 'gateway-routes')
        t.strictSame(parse(routes.data['routes.yaml']), { routes: [] })
      })

      t.test('refuses values that are none', async (t) => {
        t.strictSame(faultsOf({ host }), [])
        const wrong = [
          {},
          { host: '' },
          { host: 'https://app.example.com' },
          { host, hosts: [] },
          { host, image: { digest: 'latest' } },
          { host, postgres: { port: '5432' } },
          { host, postgres: { cluster: '' } },
          { host, settings: { LOG_LEVEL: 1 } },
          { host, settings: { 'log-level': 'info' } },
          { host, ingress: { enabled: true } },
          { host, entry: { from: [] } },
          { host, processes: { billing: {} } },
          { host, extraRoutes: [{ upstreams: [] }] },
        ]
        for (const values of wrong) t.not(faultsOf(values).length, 0, JSON.stringify(values))
      })
    })
  },
)
