import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { seed } from '@sallyport/database'
import { freePort, prepareOwnDatabase, programOf, startPostgres } from '@sallyport/local'
import { childrenOf, cpuSeconds, residentBytes } from '../lib/cpu.ts'
import { startIssuer } from '../lib/issuer.ts'
import { quantile } from '../lib/quantile.ts'
import { settingsFor } from '../lib/settings.ts'

/**
 * How long gateway and auth take from exec until /readyz says that they are ready, with how much CPU, and the memory
 * that they keep when nothing happens: as compiled, and bundled as they are in the image. Beside them, Node itself.
 *
 *   npm run build && npm run bundle && npm run bench:start
 *
 * STARTS (10) says how often each is started, in turns.
 */
const starts = Number(process.env.STARTS ?? 10)
const idleMs = 10_000

const folder = mkdtempSync(join(tmpdir(), 'sallyport-start-'))
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

interface Program {
  name: string
  args: string[]
  times: number[]
  cpu: number[]
  memory: number[]
}
const bundled = process.env.BUNDLED ?? fileURLToPath(new URL('../../../bundled', import.meta.url))
const flags = ['--single-threaded-gc']
const programs: Program[] = [
  ['node -e 0', ['-e', '0']],
  ['gateway', [...flags, programOf('gateway')]],
  ['auth', [...flags, programOf('auth')]],
  ...(existsSync(bundled)
    ? [
        ['gateway, bundled', [...flags, `${bundled}/gateway/dist/server.js`]] as const,
        ['auth, bundled', [...flags, `${bundled}/auth/dist/server.js`]] as const,
      ]
    : []),
].map(([name, args]) => ({ name: name as string, args: args as string[], times: [], cpu: [], memory: [] }))

async function untilReady(child: ChildProcess): Promise<void> {
  const [{ managementPort }] = (await once(child, 'message')) as [{ managementPort: number }]
  while (!(await fetch(`http://127.0.0.1:${managementPort}/readyz`)).ok) await sleep(1)
}

async function measure({ args, times, cpu, memory }: Program, last: boolean): Promise<void> {
  const isNode = args[0] === '-e'
  const before = performance.now()
  const child = spawn(process.execPath, args, { env: environment, stdio: ['ignore', 'ignore', 'inherit', ...(isNode ? [] : ['ipc' as const])] })
  const ended = once(child, 'exit')
  const pid = child.pid as number
  if (isNode) {
    await ended
    times.push(performance.now() - before)
    return
  }
  await untilReady(child)
  times.push(performance.now() - before)
  cpu.push(cpuSeconds(pid) * 1000)
  if (last) {
    await sleep(idleMs)
    memory.push(...[pid, ...childrenOf(pid)].map((each) => residentBytes(each) / 1e6))
  }
  child.kill('SIGTERM')
  await ended
}

for (let start = 1; start <= starts; start++) for (const program of programs) await measure(program, start === starts)

const row = (figures: number[]) => [0.5, 0, 1].map((share) => `${Math.round(quantile(figures, share))}`)
for (const { name, times, cpu, memory } of programs)
  console.log(`| ${name} | ${row(times).join(' | ')} | ${cpu.length ? row(cpu).join(' | ') : ''} | ${memory.map(Math.round).join(' + ')} |`)

issuer.close()
await postgres.stop()
rmSync(folder, { recursive: true, force: true })
