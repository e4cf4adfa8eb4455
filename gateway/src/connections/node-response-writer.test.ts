import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { NodeResponseWriter } from './node-response-writer.ts'

t.test(
  'a response is open until it has ended, and has a status once it has begun, though nothing is sent yet',
  async (t) => {
    const seen: [isOpen: boolean, status: number][] = []
    const server = createServer((_request, response) => {
      const writer = new NodeResponseWriter(response)
      const look = () => seen.push([writer.isOpen, writer.status])
      look()
      writer.begin(200, 'OK', ['content-length', '2'])
      look()
      writer.end(Buffer.from('ok'))
      look()
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.teardown(() => server.close())
    const { port } = server.address() as AddressInfo
    t.equal(await (await fetch(`http://127.0.0.1:${port}/`)).text(), 'ok')
    t.strictSame(seen, [
      [true, 0],
      [true, 200],
      [false, 200],
    ])
  },
)
