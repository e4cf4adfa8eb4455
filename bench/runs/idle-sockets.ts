import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Pool } from 'undici'
import { startSallyport } from '../lib/contestants.ts'
import { startIssuer } from '../lib/issuer.ts'

/**
 * What 10,000 idle connections do to an honest client of the gateway: its times at an equal rate, with them and without,
 * in turn. They are held by a process of their own, each open after one request. The limit of open files must allow for
 * them (`ulimit -n` of at least 12,000).
 *
 *   npm run bench:idle
 */
const idleSockets = Number(process.env.IDLE_SOCKETS ?? 10_000)
const rounds = Number(process.env.ROUNDS ?? 6)
const secondsEach = 5
const perSecond = 100

const [, self, role] = process.argv
if (role === 'hold') hold()
else await compare()

/** In the child: opens and closes connections as its parent says. */
function hold(): void {
  const sockets: Socket[] = []
  process.on('message', async (message: { port: number } | 'close') => {
    if (message === 'close') {
      await Promise.all(sockets.splice(0).map((socket) => once(socket.destroy(), 'close')))
      return process.send?.('closed')
    }
    while (sockets.length < idleSockets) await Promise.all(Array.from({ length: 100 }, () => open(message.port)))
    process.send?.('open')
  })
  async function open(port: number): Promise<void> {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {})
    socket.write('GET /nothing HTTP/1.1\r\nHost: gateway\r\n\r\n')
    await once(socket, 'data')
    socket.resume()
    sockets.push(socket)
  }
}

async function compare(): Promise<void> {
  const upstream = createServer((_request, response) => response.end('{"ok":true}')).listen(0, '127.0.0.1')
  await once(upstream, 'listening')
  const issuer = await startIssuer()
  const gateway = await startSallyport({ issuer, upstream: (upstream.address() as AddressInfo).port })
  const holder: ChildProcess = fork(self as string, ['hold'])
  const pool = new Pool(`http://127.0.0.1:${gateway.port}`, { connections: 8 })
  const headers = { authorization: `Bearer ${issuer.token()}` }

  /** Milliseconds that each request took, begun at an even rate whether or not the last has its response. */
  async function times(): Promise<number[]> {
    const found: number[] = []
    const ask = async () => {
      const begun = performance.now()
      const { statusCode, body } = await pool.request({ path: '/api', method: 'GET', headers })
      await body.dump()
      if (statusCode !== 200) throw new Error(`the honest client got ${statusCode}`)
      found.push(performance.now() - begun)
    }
    const asked: Promise<void>[] = []
    for (let at = 0; at < secondsEach * perSecond; at++) {
      asked.push(ask())
      await sleep(1000 / perSecond)
    }
    await Promise.all(asked)
    return found
  }

  await times()
  const found = { without: [] as number[], with: [] as number[] }
  for (let round = 0; round < rounds; round++) {
    found.without.push(...(await times()))
    holder.send({ port: gateway.port })
    await once(holder, 'message')
    // What the opening cost is not what holding them costs.
    await sleep(1000)
    found.with.push(...(await times()))
    holder.send('close')
    await once(holder, 'message')
    await sleep(1000)
  }
  holder.disconnect()
  await pool.close()
  await gateway.stop()
  issuer.close()
  upstream.close()

  const at = (list: number[], share: number) =>
    [...list].sort((one, other) => one - other)[Math.floor((list.length - 1) * share)] as number
  const row = (name: string, share: number) => {
    const [without, beside] = [at(found.without, share), at(found.with, share)]
    return `| ${name} | ${without.toFixed(2)} ms | ${beside.toFixed(2)} ms | ${(beside / without).toFixed(2)} |\n`
  }
  process.stdout.write(`| ${perSecond} requests/s of an honest client | alone | beside ${idleSockets} idle sockets | ratio |
| --- | ---: | ---: | ---: |
${row('median', 0.5)}${row('99 of 100', 0.99)}`)
}
