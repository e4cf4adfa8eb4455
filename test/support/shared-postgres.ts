import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type DatabaseUrls, freePort, startPostgres } from '@sallyport/local'
import pg from 'pg'
import { copyPreparedPostgres, digestOfSources, root } from './prepared-postgres.ts'

/*
 * One PostgreSQL for all the test files that run at about the same time, with a database for each test: a copy of the
 * prepared one. The first test that wants a database starts the server as a process of its own. A test has its database
 * for as long as it holds a connection to that process, which ends by itself soon after the last one is closed. So
 * nothing is left behind, however a run of tests ends.
 */

export interface Database {
  /** As the owner of everything. */
  url: string
  /** As the services sign in. */
  urls: DatabaseUrls
}

/** It outlives the run that its coverage would belong to. */
const uncovered = { ...process.env, _TAPJS_PROCESSINFO_COVERAGE_: '0' }

/** How long the server waits for the next test, in milliseconds. */
const lingerFor = 3_000

/** The same for every test of this working copy, until what a prepared database is made from changes. */
const name = `sallyport-test-${createHash('sha256').update(`${root} ${digestOfSources()}`).digest('hex').slice(0, 32)}`
/** On Linux and Windows the name goes with its holder; elsewhere it is a file. */
const places: Partial<Record<NodeJS.Platform, string>> = { linux: `\0${name}`, win32: `\\\\.\\pipe\\${name}` }
const place = places[process.platform] ?? join(tmpdir(), name)

/** @returns a database of the test's own, and what gives it back */
export async function borrowDatabase(): Promise<Database & { giveBack: () => void }> {
  for (let tries = 0; tries < 200; tries++) {
    const socket = connect(place)
    const line = await firstLine(socket)
    if (line !== undefined) return { ...JSON.parse(line), giveBack: () => socket.destroy() }
    // Of several that start at once, one gets the name.
    if (tries % 100 === 0)
      spawn(process.execPath, [import.meta.filename], { detached: true, stdio: 'ignore', env: uncovered }).unref()
    await sleep(100)
  }
  throw new Error('the PostgreSQL that tests share does not start')
}

/** What the server says; nothing if it is not there, or is about to end. */
async function firstLine(socket: Socket): Promise<string | undefined> {
  let said = ''
  const line = new Promise<string>((resolve) =>
    socket.setEncoding('utf8').on('data', (piece) => {
      said += piece
      if (said.endsWith('\n')) resolve(said)
    }),
  )
  return Promise.race([line, closeOf(socket)])
}

/** Resolves when a connection is closed, for whatever reason. */
function closeOf(socket: Socket): Promise<undefined> {
  socket.on('error', () => {})
  return new Promise((resolve) => socket.once('close', () => resolve(undefined)))
}

async function serve(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-shared-'))
  const starting = start(folder)
  let borrowed = 0
  let count = 0
  let isEnding = false
  let leaving = setTimeout(() => end(), 60_000)

  const server = createServer(async (socket) => {
    if (isEnding) return socket.destroy()
    clearTimeout(leaving)
    borrowed += 1
    const own = `test_${++count}`
    const closed = once(
      socket.on('error', () => {}),
      'close',
    )
    const { owner, at } = await starting
    await owner.query(`CREATE DATABASE ${own} TEMPLATE sallyport`)
    socket.write(`${JSON.stringify(at(own))}\n`)
    await closed
    await owner.query(`DROP DATABASE ${own} WITH (FORCE)`)
    borrowed -= 1
    if (borrowed === 0) leaving = setTimeout(() => end(), lingerFor)
  })
  server.on('error', () => process.exit())
  // Where the name is a file, the last holder may have left it.
  if (place.startsWith('/') && !(await isThere())) rmSync(place, { force: true })
  server.listen(place)

  async function end() {
    isEnding = true
    server.close()
    const { owner, postgres } = await starting
    await owner.end()
    await postgres.stop()
    rmSync(folder, { recursive: true, force: true })
    process.exit()
  }
}

async function isThere(): Promise<boolean> {
  const socket = connect(place)
  const is = await once(socket, 'connect').then(
    () => true,
    () => false,
  )
  socket.destroy()
  return is
}

async function start(folder: string) {
  const port = await freePort()
  const prepared = await copyPreparedPostgres(folder)
  const postgres = await startPostgres({ folder, port, settings: ['fsync=off', 'max_connections=600'] })
  const owner = new pg.Client({ connectionString: postgres.url.replace(/sallyport$/, 'postgres') })
  await owner.connect()
  const at = (own: string): Database => {
    const of = (url: string) => Object.assign(new URL(url), { port, pathname: own }).toString()
    const { auth, appointments, notifications } = prepared
    return {
      url: of(postgres.url),
      urls: { auth: of(auth), appointments: of(appointments), notifications: of(notifications) },
    }
  }
  return { postgres, owner, at }
}

if (process.argv[1] === import.meta.filename) await serve()
