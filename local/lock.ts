import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { constants, openSync, readFileSync, realpathSync, writeSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { ConfigurationError } from '@sallyport/chassis'

/**
 * Takes a folder for this process, until it ends. The system itself holds the lock, so that one who is killed leaves
 * none behind, and of two at once exactly one has it. By the folder's path: who deletes the folder does not unlock it.
 *
 * @throws ConfigurationError with the process that has it
 */
export async function lockFolder(folder: string): Promise<void> {
  const name = `sallyport-${createHash('sha256').update(realpathSync(folder)).digest('hex').slice(0, 32)}`
  const holder = await take(name)
  if (holder === undefined) return
  throw new ConfigurationError(
    `${folder} is in use by another \`npm start\` (process ${holder}); stop it, or set DATA_DIR to another folder`,
  )
}

/* c8 ignore start: which of these ways is taken depends on the machine */
const take = process.platform === 'darwin' ? takeFile : takeName

/** A name that goes with its last holder, and is no file: an abstract socket of Linux, a pipe of Windows. */
function nameOfSocket(name: string): string {
  return process.platform === 'win32' ? `\\\\.\\pipe\\${name}` : `\0${name}`
}

/** macOS has no such names, and opens a file with a lock that goes with its holder. */
async function takeFile(name: string): Promise<string | undefined> {
  const file = join(tmpdir(), name)
  const openLocked = 0x20
  try {
    const locked = openSync(file, constants.O_RDWR | constants.O_CREAT | constants.O_NONBLOCK | openLocked, 0o600)
    writeSync(locked, String(process.pid).padEnd(12), 0)
    return undefined
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
    return readFileSync(file, 'utf8').trim()
  }
}
/* c8 ignore stop */

/** @returns the process that has the name; undefined if it is ours now */
async function takeName(name: string): Promise<string | undefined> {
  const path = nameOfSocket(name)
  const server = createServer((socket) => socket.on('error', () => {}).end(String(process.pid))).unref()
  try {
    await once(server.listen(path), 'listening')
    return undefined
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    return askHolder(path)
  }
}

/** A holder that is stopped, or ends just now, does not say who it is. */
async function askHolder(path: string): Promise<string> {
  const socket = connect(path)
  socket.setTimeout(1_000, () => socket.destroy(new Error('no response')))
  return (await text(socket).catch(() => '')) || 'unknown'
}
