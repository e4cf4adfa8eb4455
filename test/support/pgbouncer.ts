import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { freePort } from '@sallyport/local'
import type { Test } from 'tap'
import { eventually, temporaryFolder } from './system.ts'

const program = '/usr/sbin/pgbouncer'

/** For a test that needs it. */
export const skip = spawnSync(program, ['--version']).error ? 'install pgbouncer to run this' : false

/** It does not run as root. */
const nobody = process.getuid?.() === 0 ? ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] : []

/**
 * A PgBouncer in front of a PostgreSQL.
 *
 * @param urls of the PostgreSQL, of every role that signs in
 * @returns the address of a role there, for its address of the PostgreSQL
 */
export async function startPgBouncer(
  t: Test,
  mode: 'session' | 'transaction' | 'statement',
  urls: string[],
): Promise<(url: string) => string> {
  const folder = temporaryFolder(t)
  chmodSync(folder, 0o755)
  const port = await freePort()
  const servers = urls.map((url) => new URL(url))
  const { hostname, port: server } = servers[0] as URL
  const users = servers.map(({ username, password }) => `"${username}" "${decodeURIComponent(password)}"\n`)
  const [file, usersFile] = [join(folder, 'pgbouncer.ini'), join(folder, 'users.txt')]
  writeFileSync(usersFile, [...new Set(users)].join(''))
  writeFileSync(
    file,
    `[databases]
* = host=${hostname} port=${server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = ${usersFile}
pool_mode = ${mode}
default_pool_size = 40
max_client_conn = 200
`,
  )
  const [command, ...args] = [...nobody, program, '--quiet', file]
  const child = spawn(command as string, args, { stdio: 'ignore' })
  t.teardown(async () => {
    child.kill('SIGKILL')
    await once(child, 'exit')
  })
  await eventually('PgBouncer listens', async () => {
    const socket = connect(port, '127.0.0.1')
    const is = await Promise.race([
      once(socket, 'connect').then(() => true),
      once(socket, 'error').then(() => false),
    ]).catch(() => false)
    socket.destroy()
    return is
  })
  return (url) => Object.assign(new URL(url), { port }).toString()
}
