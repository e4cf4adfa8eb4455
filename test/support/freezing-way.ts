import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { Test } from 'tap'

export interface FreezingWay {
  port: number
  /** From here on nothing passes on the open connections, and neither end is notified. New ones work. */
  freeze: () => void
  /** Whether new connections are frozen from the start. */
  everything: boolean
}

/** A plain TCP proxy, like a NAT or a load balancer. @param alter changes what the server sends before it passes */
export async function startFreezingWay(
  t: Test,
  port: number,
  alter = (piece: Buffer, _connection: object): Buffer => piece,
): Promise<FreezingWay> {
  const open = new Set<Socket>()
  const frozen = new WeakSet<Socket>()
  const way = {
    port: 0,
    everything: false,
    freeze() {
      for (const socket of open) frozen.add(socket)
    },
  }
  const server = createServer((client) => {
    const upstream = connect(port, '127.0.0.1')
    if (way.everything) frozen.add(client).add(upstream)
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      open.add(from)
      from.on('data', (piece: Buffer) => frozen.has(from) || to.write(from === upstream ? alter(piece, from) : piece))
      from.on('error', () => {})
      from.on('close', () => {
        open.delete(from)
        if (!frozen.has(from)) to.destroy()
      })
    }
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  way.port = (server.address() as AddressInfo).port
  t.teardown(() => {
    for (const socket of open) socket.destroy()
    server.close()
  })
  return way
}
