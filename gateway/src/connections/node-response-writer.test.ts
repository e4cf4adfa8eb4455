import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { NodeResponseWriter } from './node-response-writer.ts'

t.test('a response is open until it has ended, also while it is not sent yet', async (t) => {
  const seen: boolean[] = []
  const server = createServer((_request, response) => {
    const writer = new NodeResponseWriter(response)
    seen.push(writer.isOpen)
    writer.begin(200, 'OK', ['content-length', '2'])
    writer.end(Buffer.from('ok'))
    seen.push(writer.isOpen)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  t.equal(await (await fetch(`http://127.0.0.1:${port}/`)).text(), 'ok')
  t.strictSame(seen, [true, false])
})
