import type { Socket } from 'node:net'

/**
 * Node destroys a socket as soon as writing to it fails, and with it what was not read yet. An upstream that refuses a
 * body and closes has said why: so reading goes on until the upstream closes too.
 */
export function outliveFailedWrites(socket: Socket, onFailed: (error: Error) => void): void {
  const write = socket._write
  const writev = socket._writev as NonNullable<Socket['_writev']>
  const settled = (callback: (error?: Error | null) => void) => (error?: Error | null) => {
    if (error) onFailed(error)
    callback()
  }
  socket._write = (chunk, encoding, callback) => write.call(socket, chunk, encoding, settled(callback))
  socket._writev = (chunks, callback) => writev.call(socket, chunks, settled(callback))
}
