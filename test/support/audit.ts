import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import type { ChainedEvent } from '@sallyport/auth/events/chain'
import { verifyFiles } from '@sallyport/auth/events/verify-file'
import type { Test } from 'tap'

/** Adds events as anybody does. */
export const addEvents = (count: number, reason = 'known device') =>
  `INSERT INTO auth.security_events (event, ip, reason) SELECT 'login_failed', '192.0.2.1', '${reason}'
   FROM generate_series(1, ${count})`

/** What files of the audit log have, verified. */
export async function readAudit(files: string[]) {
  const faults: unknown[] = []
  return { ...(await verifyFiles(files, [], (fault) => faults.push(fault))), faults }
}

/** The events in what a receiver got, by the frames of RFC 5425; a message that was cut off is none. */
export function readFrames(received: Buffer): ChainedEvent[] {
  const events: ChainedEvent[] = []
  for (let at = 0; at < received.length; ) {
    const [start = '', length] = /^([1-9]\d*) /.exec(received.subarray(at, at + 20).toString('latin1')) ?? []
    const end = at + start.length + Number(length)
    if (start === '' || end > received.length) break
    const message = received.subarray(at + start.length, end).toString()
    events.push(JSON.parse(message.slice(message.indexOf('\uFEFF') + 1)))
    at = end
  }
  return events
}

/**
 * A receiver of syslog.
 *
 * @param treat is what it does with a connection, in the place of reading to its end
 */
export async function startReceiver(t: Test, port = 0) {
  const connections: { socket: Socket; pieces: Buffer[] }[] = []
  const state: { treat: ((socket: Socket) => void) | undefined } = { treat: undefined }
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const pieces: Buffer[] = []
    connections.push({ socket: socket.on('error', () => {}), pieces })
    if (state.treat) return state.treat(socket)
    socket.on('data', (piece) => pieces.push(piece)).on('end', () => socket.end())
  })
  await once(server.listen(port, '127.0.0.1'), 'listening')
  const close = () => {
    for (const { socket } of connections) socket.destroy()
    server.close()
  }
  t.teardown(close)
  return Object.assign(state, {
    port: (server.address() as AddressInfo).port,
    connections,
    close,
    received: () => connections.flatMap(({ pieces }) => readFrames(Buffer.concat(pieces))),
  })
}
