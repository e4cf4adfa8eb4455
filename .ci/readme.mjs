// Runs the commands of the README, docs/getting-started.md, docs/service.md and of "One process each" in
// docs/operations.md, word for word in a fresh clone, and looks for what they say the responses hold. Two values are changed:
// the DATABASE_URL of "One process each" names a database that is there, and what the README makes in /tmp is made in a
// folder of its own there. Of the README's commands, `npm cit` (npm ci and npm test) and what .ci/run names are run there.
import { execFileSync, spawn } from 'node:child_process'
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { blocksOf, play, playJourney, sectionOf } from './journey.mjs'

const clone = mkdtempSync(join(tmpdir(), 'sallyport-readme-'))
const made = mkdtempSync(join(tmpdir(), 'sallyport-made-'))
const running = []
// Whoever has the web app open on its own port keeps it.
// The benches are for their figures elsewhere; here they need only run.
const env = { ...process.env, WEB_PORT: '0', ROUNDS: '1', SECONDS: '1' }

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
  const begun = performance.now()
  const output = execFileSync('bash', ['-euo', 'pipefail', '-c', command], { cwd: clone, env, encoding: 'utf8' })
  process.stdout.write(`  took ${Math.round((performance.now() - begun) / 1000)} s\n`)
  return output
}

/** The first block of a section in some language. */
const example = (document, heading, language) =>
  sectionOf(document, heading).split(`\`\`\`${language}\n`)[1].split('```')[0]

/** Waits until a route leads to a service that answers. */
async function reach(url) {
  for (let tries = 0; tries < 100; tries++) {
    const { status } = await fetch(url).catch(() => ({ status: 0 }))
    if (status === 401) return
    await sleep(100)
  }
  throw new Error(`${url} did not come up`)
}

try {
  execFileSync('git', ['clone', '--quiet', '.', clone])
  const [first, { command: tests }] = blocksOf('README.md', 'Try it')
  if (tests.trim() !== 'npm cit') throw new Error(`the README says ${tests} to test; .ci/run runs npm ci and the tests`)
  await start(first.command, 'Try ')
  await play(clone, 'README.md', blocksOf('README.md', 'Three calls'))
  await playJourney(clone)

  writeFileSync(join(clone, 'reports.mjs'), example('docs/service.md', 'The service', 'js'))
  appendFileSync(join(clone, 'gateway/routes.yaml'), `  ${example('docs/service.md', 'The route', 'yaml')}`)
  const [launch, ...calls] = blocksOf('docs/service.md', 'Run it')
  const reports = spawn('bash', ['-c', launch.command], { cwd: clone, env, detached: true, stdio: 'inherit' })
  running.push(reports)
  await reach('http://localhost:5010/api/reports/mine')
  await reach('http://localhost:5000/api/reports/mine')
  await play(clone, 'docs/service.md', calls)

  writeFileSync(join(clone, 'agenda.mjs'), example('README.md', 'A service that calls another', 'js'))
  appendFileSync(
    join(clone, 'gateway/routes.yaml'),
    `  ${example('docs/service.md', 'Calling other services', 'yaml')}`,
  )
  const [account, agenda, ...ofCaller] = blocksOf('docs/service.md', 'Calling other services')
  run(account.command)
  await start(agenda.command, '3 appointments in all')
  await reach('http://localhost:5000/api/agenda')
  await play(clone, 'docs/service.md', ofCaller)
  for (const child of running.splice(0)) await stop(child)
  run('git checkout --quiet gateway/routes.yaml')

  const [make, project] = blocksOf('README.md', 'A project of your own').map(({ command }) =>
    command.replaceAll(' /tmp/', ` ${made}/`).replaceAll('=/tmp/', `=${made}/`),
  )
  run(make)
  await start(project, 'Sign in as')
  for (const child of running.splice(0)) await stop(child)

  const ci = readFileSync(join(clone, '.ci/run'), 'utf8')
  for (const [, command, name] of sectionOf('README.md', 'What sets it apart').matchAll(/\| `(npm run (\S+))` \|/g))
    if (!new RegExp(`npm run --silent ${name}\\b`).test(ci)) run(command)

  const { startPostgres } = await import(join(clone, 'local/dist/postgres.js'))
  const postgres = await startPostgres({ folder: join(clone, '.data'), port: 5433 })
  const [keys, shared, migrate, ...processes] = blocksOf('docs/operations.md', 'One process each')
  run(keys.command)
  const exports = shared.command.replace(/DATABASE_URL=\S+/, `DATABASE_URL=${postgres.url}`)
  run(exports + migrate.command)
  for (const { command } of [...processes, ...blocksOf('docs/operations.md', 'The first user')]) {
    if (command.includes('npm run start:')) await start(exports + command, '"listening"')
    else run(exports + command)
  }
  const answer = run(
    `curl -s http://localhost:5000/api/auth/login -H 'content-type: application/json' -d '{"email":"someone@example.com","password":"a long passphrase"}'`,
  )
  if (!answer.includes('accessToken')) throw new Error(`One process each: the login answered ${answer}`)
  for (const child of running.splice(0)) await stop(child)
  await postgres.stop()
  process.stdout.write('Every command of the documents does what it says.\n')
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
  for (const folder of [clone, made]) rmSync(folder, { recursive: true, force: true })
  process.exit()
}
