import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { endProcesses, freePort, startProcess } from '@sallyport/local'
import type { TestIssuer } from './issuer.ts'

export interface Contestant {
  name: string
  port: number
  /** The processes that do the work. */
  pids: number[]
  stop(): Promise<void>
}

interface Surroundings {
  issuer: TestIssuer
  /** Port of the service behind. */
  upstream: number
}

const folder = mkdtempSync(join(tmpdir(), 'sallyport-bench-'))
const isInstalled = (program: string) => spawnSync(program, ['-v']).error === undefined

/** The service behind all of them: nginx with a small JSON response, since it costs least. */
export async function startUpstream(): Promise<Contestant> {
  const port = await freePort()
  return startNginx(
    'upstream',
    port,
    `location / { default_type application/json; return 200 '{"ok":true,"at":"upstream"}'; }`,
  )
}

/**
 * This gateway, in front of an upstream and with no limit that a bench would meet.
 *
 * @param rules what its routes have of their own
 * @param settings of its own
 */
export async function startSallyport(
  { issuer, upstream }: Surroundings,
  rules: object[] = [{ prefix: '/api' }],
  settings: Record<string, string> = {},
): Promise<Contestant> {
  const file = join(folder, 'routes.json')
  const route = { upstreams: [`http://127.0.0.1:${upstream}`], access: 'authenticated', audience: 'sample' }
  writeFileSync(file, JSON.stringify({ routes: rules.map((rule) => ({ ...route, ...rule })) }))
  const environment = {
    ...process.env,
    NODE_ENV: 'production',
    HOST: '0.0.0.0',
    GATEWAY_PORT: '0',
    GATEWAY_ROUTES: file,
    JWKS_URL: issuer.url,
    JWT_ISSUER: issuer.issuer,
    JWT_AUDIENCE: issuer.audience,
    IDENTITY_PRIVATE_KEY: issuer.identityKey,
    RATE_LIMIT_MAX: '100000000',
    USER_RATE_LIMIT_MAX: '100000000',
    CONNECTIONS_PER_CLIENT: '1000000',
    LOG_LEVEL: 'warn',
    ...settings,
  }
  const running = await startProcess('gateway', environment, () => {})
  return {
    name: 'Sallyport',
    port: running.port,
    pids: [running.child.pid as number],
    stop: () => endProcesses([running]),
  }
}

export const contestants: Record<string, (around: Surroundings) => Promise<Contestant | undefined>> = {
  Sallyport: (around) => startSallyport(around),
  'http-proxy, bare': ({ upstream }) => startScript('http-proxy, bare', 'http-proxy', { upstream }),
  'http-proxy, connections kept': ({ upstream }) =>
    startScript('http-proxy, connections kept', 'http-proxy', { upstream, KEPT: 'yes' }),
  '@fastify/http-proxy with @fastify/jwt': ({ upstream, issuer }) =>
    startScript('@fastify/http-proxy with @fastify/jwt', 'fastify-http-proxy', {
      upstream,
      PUBLIC_KEY: issuer.publicKey,
    }),
  'HAProxy with jwt_verify ES256': async ({ issuer, upstream }) => {
    if (!isInstalled('haproxy')) return undefined
    const key = join(folder, 'public.pem')
    writeFileSync(key, issuer.publicKey)
    const port = await freePort()
    const file = join(folder, 'haproxy.cfg')
    writeFileSync(
      file,
      `global
  maxconn 2000
  nbthread 1
defaults
  mode http
  timeout connect 3s
  timeout client 30s
  timeout server 30s
  http-reuse always
frontend in
  bind *:${port}
  http-request set-var(txn.bearer) http_auth_bearer
  http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg')
  http-request deny deny_status 401 unless { var(txn.alg) -m str ES256 }
  http-request deny deny_status 401 unless { var(txn.bearer),jwt_verify(txn.alg,"${key}") 1 }
  http-request set-header x-user-id %[var(txn.bearer),jwt_payload_query('$.sub')]
  default_backend out
backend out
  server upstream 127.0.0.1:${upstream}
`,
    )
    const child = spawn('haproxy', ['-db', '-f', file], { stdio: 'ignore' })
    return running('HAProxy with jwt_verify ES256', port, child)
  },
  'nginx, bare': async ({ upstream }) => {
    if (!isInstalled('nginx')) return undefined
    const port = await freePort()
    return startNginx(
      'nginx, bare',
      port,
      `location / { proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection ""; }`,
      `upstream behind { server 127.0.0.1:${upstream}; keepalive 128; }`,
    )
  },
}

async function startScript(
  name: string,
  script: string,
  { upstream, ...environment }: { upstream: number; PUBLIC_KEY?: string; KEPT?: string },
) {
  const port = await freePort()
  const file = fileURLToPath(new URL(`../baselines/${script}.js`, import.meta.url))
  const child = spawn(process.execPath, [file], {
    env: {
      ...process.env,
      NODE_ENV: 'production',
      ...environment,
      PORT: String(port),
      UPSTREAM: `http://127.0.0.1:${upstream}`,
    },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  return running(name, port, child)
}

async function startNginx(name: string, port: number, location: string, more = ''): Promise<Contestant> {
  const file = join(folder, `nginx-${port}.conf`)
  writeFileSync(
    file,
    `daemon off; master_process off; pid ${folder}/nginx-${port}.pid; error_log stderr crit;
events { worker_connections 4096; }
http {
  access_log off; keepalive_requests 100000000;
  client_body_temp_path ${folder}; proxy_temp_path ${folder}; fastcgi_temp_path ${folder}; uwsgi_temp_path ${folder}; scgi_temp_path ${folder};
  ${more}
  server { listen ${port}; ${location} }
}`,
  )
  return running(name, port, spawn('nginx', ['-c', file], { stdio: 'ignore' }))
}

async function running(name: string, port: number, child: ChildProcess): Promise<Contestant> {
  for (;;) {
    const socket = connect(port, '127.0.0.1')
    const up = await Promise.race([
      once(socket, 'connect').then(() => true),
      once(socket, 'error').then(() => false),
    ]).catch(() => false)
    socket.destroy()
    if (up) break
    if (child.exitCode !== null) throw new Error(`${name} did not start`)
  }
  const pid = child.pid as number
  return {
    name,
    port,
    pids: [pid],
    async stop() {
      child.kill('SIGTERM')
      await once(child, 'exit')
    },
  }
}
