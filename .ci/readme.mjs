// Runs the README's commands word for word in a fresh clone, and looks for what the README says they answer.
// One value is changed: the DATABASE_URL of "One process each" names a database that is there.
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { blocksOf, playJourney } from './journey.mjs'

const clone = mkdtempSync(join(tmpdir(), 'sallyport-readme-'))
const running = []
// Whoever has the web app open on its own port keeps it.
const env = { ...process.env, WEB_PORT: '0' }

/** Starts a command that goes on, and resolves once its output holds a text. */
function start(command, until) {
  const child = spawn('bash', ['-c', command], { cwd: clone, env, detached: true })
  running.push(child)
  return new Promise((resolve, reject) => {
    let output = ''
    const take = (chunk) => {
      output += chunk
      if (output.includes(until)) resolve(child)
    }
    child.stdout.on('data', take)
    child.stderr.on('data', take)
    child.once('exit', (code) => reject(new Error(`${command} ended with ${code}:\n${output}`)))
  })
}

async function stop(child) {
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.removeAllListeners('exit')
  child.once('exit', () => {})
  process.kill(-child.pid, 'SIGINT')
  await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 6_000))])
}

function run(command) {
  process.stdout.write(`$ ${command.trim().replaceAll('\n', '\n  ')}\n`)
  return execFileSync('bash', ['-euo', 'pipefail', '-c', command], { cwd: clone, encoding: 'utf8' })
}

try {
  execFileSync('git', ['clone', '--quiet', '.', clone])
  const [{ command: firstCommands }] = blocksOf('Run it')
  const [install, launch] = firstCommands.trim().split('\n')
  run(install)

  const everything = await start(launch, 'Try ')
  await playJourney(clone)
  await stop(everything)

  const { startPostgres } = await import(join(clone, 'local/dist/postgres.js'))
  const postgres = await startPostgres({ folder: join(clone, '.data'), port: 5433 })
  const blocks = blocksOf('One process each')
  const [keys, shared, migrate] = blocks
  run(keys.command)
  const exports = shared.command.replace(/DATABASE_URL=\S+/, `DATABASE_URL=${postgres.url}`)
  run(exports + migrate.command)
  for (const { command } of blocks.slice(3)) {
    if (command.includes('npm run start:')) await start(exports + command, '"listening"')
    else run(exports + command)
  }
  const answer = run(
    `curl -s http://localhost:5000/api/auth/login -H 'content-type: application/json' -d '{"email":"someone@example.com","password":"a long passphrase"}'`,
  )
  if (!answer.includes('accessToken')) throw new Error(`One process each: the login answered ${answer}`)
  for (const child of running.splice(1)) await stop(child)
  await postgres.stop()
  process.stdout.write('Every command of the README does what it says.\n')
} catch (error) {
  process.stderr.write(`${error.stack}\n`)
  process.exitCode = 1
} finally {
  for (const child of running) {
    try {
      process.kill(-child.pid, 'SIGKILL')
    } catch {
      // Ended already.
    }
  }
  rmSync(clone, { recursive: true, force: true })
  process.exit()
}
