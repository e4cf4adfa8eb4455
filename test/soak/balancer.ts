import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** A process behind a balancer. */
export interface Target {
  port: number
  /** Where it says on /readyz whether it can serve. */
  managementPort: number
}

/** Milliseconds between two looks at whether a target can serve. */
const lookEvery = 100

/**
 * A plain TCP balancer, as a Service of Kubernetes is: a new connection goes to the next target that was ready when
 * last looked at. It knows nothing of HTTP, and never moves a connection.
 */
export async function startBalancer(targets: Target[]) {
  let ready: Target[] = []
  let turn = 0
  const open = new Set<Socket>()
  async function look() {
    const looks = await Promise.all(
      targets.map(({ managementPort }) =>
        fetch(`http://127.0.0.1:${managementPort}/readyz`).then(
          ({ ok }) => ok,
          () => false,
        ),
      ),
    )
    ready = targets.filter((_, index) => looks[index])
  }
  const looking = setInterval(look, lookEvery)
  const server = createServer((client) => {
    const target = ready[turn++ % ready.length]
    if (!target) return client.destroy()
    const upstream = connect({ port: target.port, host: '127.0.0.1', noDelay: true })
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      open.add(from)
      from.pipe(to)
      from.on('error', () => to.destroy())
      from.on('close', () => {
        open.delete(from)
        to.destroy()
      })
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    look,
    stop() {
      clearInterval(looking)
      server.close()
      for (const socket of open) socket.destroy()
    },
  }
}
