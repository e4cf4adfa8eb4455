import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { createLogger } from '@sallyport/chassis'
import t from 'tap'
import { serveInOrder } from './node-server.ts'

t.test('what is thrown as a request is taken ends its connection alone', async (t) => {
  const server = createServer()
  const log: string[] = []
  serveInOrder(server, {
    handle(request, response) {
      if (request.url === '/fails') throw new Error('of ours')
      response.end('handled')
    },
    noteUpgrade() {},
    serve() {},
    refused: async (problem) => problem,
    idleTimeout: 10,
    logger: createLogger('test', 'error', { write: (line) => log.push(line) }),
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const heard = async (path: string) => {
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1').setEncoding('latin1')
    socket.write(`GET ${path} HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n`)
    let all = ''
    socket.on('data', (chunk) => {
      all += chunk
    })
    await once(socket, 'close')
    return all
  }
  t.equal(await heard('/fails'), '')
  t.match(log.join(), /connection_ended.*of ours/)
  t.match(await heard('/goes'), /handled$/)
})

t.test('nothing is written to a client that left while its refusal was counted', async (t) => {
  const server = createServer()
  const socketsOf: Socket[] = []
  let asked = () => {}
  const isAsked = new Promise<void>((resolve) => {
    asked = resolve
  })
  let letGo = () => {}
  const counted = new Promise<void>((resolve) => {
    letGo = resolve
  })
  serveInOrder(server, {
    handle() {},
    noteUpgrade() {},
    serve() {},
    async refused(problem) {
      asked()
      await counted
      return problem
    },
    idleTimeout: 10,
    logger: createLogger('test', 'silent'),
  })
  server.on('connection', (socket) => socketsOf.push(socket.on('error', () => {})))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1').on('error', () => {})
  client.write('GET / HTTP/9.9\r\n\r\n')
  await isAsked
  const [socket] = socketsOf as [Socket]
  const closed = new Promise((resolve) => socket.once('close', resolve))
  client.resetAndDestroy()
  await closed
  letGo()
  await new Promise((resolve) => setImmediate(resolve))
  t.equal(socket.bytesWritten, 0)
})
