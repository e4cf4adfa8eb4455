import type { Socket } from 'node:net'

/** Milliseconds for a client to read the end of what was sent to it, while it may still send. */
const lingerTimeout = 2_000

/**
 * Closes a connection behind what was written. What the client still sends is read for a moment: closed at once, the
 * system would reset the connection, and the client might lose what it has not read yet (RFC 9112 section 9.6).
 *
 * It sets no time for the client to take what was written.
 */
export function lingeringClose(socket: Socket): void {
  let cut: NodeJS.Timeout | undefined
  const linger = () => {
    cut = setTimeout(() => socket.destroy(), lingerTimeout)
  }
  socket.end()
  if (socket.writableFinished) linger()
  else socket.once('finish', linger)
  socket.once('end', () => socket.destroy()).once('close', () => clearTimeout(cut))
  socket.resume()
}
