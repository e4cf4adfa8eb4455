import { execFileSync } from 'node:child_process'
import { appendFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import {
  Client,
  eventually,
  isAlive,
  patience,
  signIn,
  startServer,
  startSystemOn,
  temporaryFolder,
} from '../support/system.ts'

/** A disk of its own, small, in memory. @returns where it is, or undefined where we may not mount one */
function mountDisk(t: Test): string | undefined {
  const folder = temporaryFolder(t)
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256m', 'tmpfs', folder], { stdio: 'ignore' })
  } catch {
    return undefined
  }
  t.teardown(() => execFileSync('umount', ['--lazy', folder]))
  return folder
}

/** Takes all that is left of a disk. @returns how to give it back */
function fill(disk: string): () => void {
  const file = join(disk, 'full')
  for (const size of [1 << 20, 1 << 12])
    try {
      for (;;) appendFileSync(file, Buffer.alloc(size))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
    }
  return () => rmSync(file)
}

const disk = mountDisk(t)

t.test(
  'a disk that is really full: 503 until there is room, and nobody is signed out',
  disk ? {} : { skip: 'only root may mount a disk' },
  async (t) => {
    process.env.TMPDIR = disk
    const system = await startSystemOn(await startServer(t), t, {}, ['appointments'])
    const { gateway, sql } = system
    const client = await signIn(gateway)

    /** Checks for a 200 or a 503 in time. @returns which it was */
    const attempt = async (way: string, send: () => Promise<{ status: number; body: { code?: string } }>) => {
      const begun = Date.now()
      const { status, body } = await send()
      if (status !== 200) t.match({ status, code: body.code }, { status: 503, code: 'UNAVAILABLE' }, way)
      t.ok(Date.now() - begun < patience, `${way} is not left waiting`)
      return status
    }
    const login = () => attempt('login', () => new Client(gateway).login())
    const refresh = () => attempt('refresh', () => client.refresh())
    const whoami = async () => (await client.call('GET', '/api/whoami')).status

    // No table can grow: what needs a new page fails, and what does not goes on.
    let giveBack = fill(disk as string)
    await eventually('no more sessions open', async () => (await login()) === 503, 60_000)
    t.equal(await refresh(), 200, 'a refresh finds room in its page')
    t.equal(await whoami(), 200)
    giveBack()
    t.equal(await login(), 200, 'at once when there is room')

    // No room for the write-ahead log: the server ends itself, and cannot start.
    giveBack = fill(disk as string)
    const dead = async () => {
      await sql("SELECT pg_logical_emit_message(true, 'test', repeat('x', 1000000))")
      return false
    }
    await eventually('the server is down', () => dead().catch(() => true), 60_000)
    for (let round = 0; round < 3; round++) {
      t.equal(await login(), 503)
      t.equal(await refresh(), 503)
      t.equal(await whoami(), 200, 'a valid token is served meanwhile')
    }
    giveBack()
    // It tries by itself, and ends for good if it fails; then it is for whoever runs it to start it again.
    await eventually('the server is up', () =>
      isAlive(system.postgres.pid)
        ? sql('SELECT').then(
            () => true,
            () => false,
          )
        : system.restart().then(() => true),
    )
    await eventually('a refresh succeeds', async () => (await refresh()) === 200)
    await eventually('a login too', async () => (await login()) === 200)
  },
)
