import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { seed } from '@sallyport/database'
import { freePort, prepareOwnDatabase, startPostgres } from '@sallyport/local'
import { childrenOf, cpuSeconds, residentBytes } from '../lib/cpu.ts'
import { startIssuer } from '../lib/issuer.ts'
import { quantile } from '../lib/quantile.ts'
import { settingsFor } from '../lib/settings.ts'

/**
 * How long gateway and auth take from exec until /readyz says that they are ready, and the memory that they keep when
 * nothing happens: bundled as they are in the image, and as they are in a clone. Beside them, Node itself.
 *
 *   npm run bench:start              (STARTS=10: how often each is started, in turns)
 *
 * With the Node of the image: `npx -y -p node@24 node bench/dist/runs/start.js`.
 */
const starts = Number(process.env.STARTS ?? 10)

/** How long a process has nothing to do before its memory is looked at. */
const idleMs = 10_000

interface Program {
  name: string
  args: string[]
  /** Milliseconds of each start. */
  times: number[]
  cpu: number[]
  /** Bytes after the last one, of the process and of those that it started; and without what they share with others. */
  memory: number[]
  own: number[]
}

const folder = mkdtempSync(join(tmpdir(), 'sallyport-start-'))
const root = fileURLToPath(new URL('../../..', import.meta.url))
const image = join(folder, 'image')
execFileSync(process.execPath, [join(root, 'image/bundle.mjs'), image])
const program = (name: string, ...args: string[]): Program => ({ name, args, times: [], cpu: [], memory: [], own: [] })
const server = (name: string, of: string, path: string) => program(name, '--single-threaded-gc', join(of, path))
const node = program('node -e 0', '-e', '0')
const programs = [
  node,
  server('gateway, image', image, 'gateway/dist/server.js'),
  server('gateway, clone', root, 'gateway/dist/server.js'),
  server('auth, image', image, 'services/auth/dist/server.js'),
  server('auth, clone', root, 'services/auth/dist/server.js'),
]

const postgres = await startPostgres({ folder, port: await freePort() })
const { auth: DATABASE_URL } = await prepareOwnDatabase(postgres.url, seed)
const issuer = await startIssuer()
const nowhere = 'http://127.0.0.1:1'
const environment = {
  ...settingsFor(folder, { auth: nowhere, appointments: nowhere, notifications: nowhere }),
  NODE_ENV: 'production',
  DATABASE_URL,
  JWKS_URL: issuer.url,
  AUTH_PORT: '0',
  GATEWAY_PORT: '0',
  LOG_LEVEL: 'fatal',
}

for (let start = 1; start <= starts; start++) {
  for (const each of programs) await (each === node ? measureNode() : measure(each, start === starts))
}

const columns = ['', 'ready, median', 'fastest', 'slowest', 'CPU', 'memory, idle', 'not shared']
process.stdout.write(`| ${columns.join(' | ')} |\n| --- |${' ---: |'.repeat(columns.length - 1)}\n`)
for (const { name, times, cpu, memory, own } of programs) {
  const ms = (figures: number[], share: number) =>
    figures.length > 0 ? `${Math.round(quantile(figures, share))} ms` : ''
  const megabytes = (figures: number[]) => figures.map((bytes) => `${Math.round(bytes / 1e6)} MB`).join(' + ')
  const row = [name, ms(times, 0.5), ms(times, 0), ms(times, 1), ms(cpu, 0.5), megabytes(memory), megabytes(own)]
  process.stdout.write(`| ${row.join(' | ')} |\n`)
}

issuer.close()
await postgres.stop()
rmSync(folder, { recursive: true, force: true })

async function measureNode(): Promise<void> {
  const begun = performance.now()
  await once(spawn(process.execPath, node.args, { stdio: 'ignore' }), 'exit')
  node.times.push(performance.now() - begun)
}

async function measure({ args, times, cpu, memory, own }: Program, isLast: boolean): Promise<void> {
  const begun = performance.now()
  const child = spawn(process.execPath, args, { env: environment, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  const pid = child.pid as number
  const ended = once(child, 'exit')
  const [{ managementPort }] = (await once(child, 'message')) as [{ managementPort: number }]
  while (!(await fetch(`http://127.0.0.1:${managementPort}/readyz`)).ok) await sleep(1)
  times.push(performance.now() - begun)
  cpu.push(cpuSeconds(pid) * 1_000)
  if (isLast) {
    await sleep(idleMs)
    for (const one of [pid, ...childrenOf(pid)]) {
      memory.push(residentBytes(one))
      own.push(residentBytes(one, 'RssAnon'))
    }
  }
  child.kill('SIGTERM')
  await ended
}
