import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createWriteStream, mkdtempSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import { seed } from '@sallyport/database'
import { freePort, prepareOwnDatabase, startPostgres } from '@sallyport/local'
import pg from 'pg'

/**
 * How long an import takes, and how much memory: so many people of Supabase, each with a hash of bcrypt and one in ten with
 * an authenticator app, by the command as it is run, into a database on the same machine. Then once more, which changes
 * nothing. Exits with 1 if somebody was left out.
 *
 *   npm run bench:import            (-- 10000 imports so many)
 */
const count = Number(process.argv[2] ?? 100_000)
const program = fileURLToPath(new URL('../../../cli/bin/sallyport.js', import.meta.url))
const print = (text: string) => process.stdout.write(`${text}\n`)

const folder = mkdtempSync(join(tmpdir(), 'sallyport-import-'))
const postgres = await startPostgres({ folder: join(folder, 'database'), port: await freePort() })
const databases = await prepareOwnDatabase(postgres.url, seed)
const owner = new pg.Client({ connectionString: postgres.url })
await owner.connect()

const letters = (length: number) => randomBytes(length).toString('base64').replace(/[+=]/g, '.').slice(0, length)
function* lines(): Generator<string> {
  for (let index = 0; index < count; index++)
    yield `${JSON.stringify({
      id: `0a1b2c3d-0000-4000-8000-${index.toString(16).padStart(12, '0')}`,
      email: `person-${index}@example.com`,
      encrypted_password: `$2a$10$${letters(53)}`,
      email_confirmed_at: '2024-01-02 03:04:05+00',
      created_at: '2024-01-02 03:04:05+00',
      raw_user_meta_data: { full_name: `Person ${index}` },
      ...(index % 10 === 0 && { totp_secret: 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ' }),
    })}\n`
}
const file = join(folder, 'users.ndjson')
await pipeline(lines, createWriteStream(file))

async function run(): Promise<{ seconds: number; mebibytes: number; totals: Record<string, unknown> }> {
  const began = performance.now()
  const words = ['import', '--from', 'supabase', '--default-role', 'patient', '--json', file]
  const environment = { ...process.env, DATABASE_URL: databases.auth, FACTOR_KEY: randomBytes(48).toString('base64') }
  // The kernel's own count of what it needed at most, as /usr/bin/time says it, without that program.
  const measured = "process.on('exit', () => process.stderr.write('rss ' + process.resourceUsage().maxRSS))"
  const loader = `data:text/javascript,${encodeURIComponent(measured)}`
  const child = spawn(process.execPath, [`--import=${loader}`, program, ...words], { env: environment })
  let [output, errors] = ['', '']
  child.stdout.on('data', (data) => {
    output += data
  })
  child.stderr.on('data', (data) => {
    errors += data
  })
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(errors)
  const [, kibibytes] = /rss (\d+)/.exec(errors) ?? []
  return {
    seconds: (performance.now() - began) / 1000,
    mebibytes: Math.round(Number(kibibytes) / 1024),
    totals: JSON.parse(output).totals,
  }
}

print(
  `${count} people, ${availableParallelism()} cores\n\n| run | seconds | memory | imported | there already |\n| --- | ---: | ---: | ---: | ---: |`,
)
const first = await run()
const second = await run()
for (const [name, { seconds, mebibytes, totals }] of [
  ['first', first],
  ['again', second],
] as const)
  print(`| ${name} | ${seconds.toFixed(1)} | ${mebibytes} MiB | ${totals.imported} | ${totals.unchanged} |`)
const { rows } = await owner.query("SELECT count(*)::int AS n FROM auth.users WHERE password_hash LIKE '$2a$10$%'")
await owner.end()
await postgres.stop()
rmSync(folder, { recursive: true })
process.exit(first.totals.imported === count && second.totals.unchanged === count && rows[0].n === count ? 0 : 1)
