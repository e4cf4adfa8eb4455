/// <reference lib="dom" />
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { WebSocketServer } from 'ws'
import { startBrowser, withoutBrowser } from '../support/chromium.ts'
import { listen, openGateway } from '../support/edge.ts'

t.setTimeout(120_000)

t.test(
  'a page opens a WebSocket with its token, also to a service that knows no subprotocols',
  { skip: withoutBrowser },
  async (t) => {
    // What a service that selects is asked for is the last one, so that it is its own choice that a page gets.
    const open = async (select: (protocols: Set<string>) => string | false) => {
      const service = new WebSocketServer({ port: 0, host: '127.0.0.1', handleProtocols: select })
      t.teardown(() => service.close())
      service.on('connection', (socket) => socket.on('message', (message) => socket.send(`${message}`)))
      await once(service, 'listening')
      return `http://127.0.0.1:${(service.address() as AddressInfo).port}`
    }
    const page = await listen(
      t,
      createServer((_request, response) => response.setHeader('content-type', 'text/html').end('<title>chat</title>')),
    )
    const route = { access: 'authenticated', websocket: true }
    const { gateway, issuer } = await openGateway(
      t,
      [
        { ...route, prefix: '/mute', upstreams: [await open(() => false)] },
        { ...route, prefix: '/choosy', upstreams: [await open((protocols) => [...protocols].at(-1) ?? false)] },
        { ...route, prefix: '/wrong', upstreams: [await open(() => 'never-offered')] },
      ],
      { CORS_ORIGINS: page },
    )
    const visitor = await (await startBrowser(t))(page)
    await visitor.visit('/')
    const bearer = `sallyport.bearer.${issuer.token()}`

    /** What comes of a WebSocket in the page: the protocol and an echo, or the code with which it was closed. */
    const connect = (path: string, protocols: string[]) =>
      visitor.page.evaluate(
        ([url, protocols]) =>
          new Promise<string>((resolve) => {
            const socket = new WebSocket(url, protocols)
            socket.onopen = () => socket.send('hello')
            socket.onmessage = ({ data }) => {
              resolve(`${socket.protocol}: ${data}`)
              socket.close()
            }
            socket.onclose = ({ code }) => resolve(`closed with ${code}`)
          }),
        [gateway.replace('http', 'ws') + path, protocols] as const,
      )

    t.equal(await connect('/mute', ['chat', bearer]), 'chat: hello')
    t.equal(await connect('/mute', [bearer, 'sallyport', 'other']), 'sallyport: hello')
    t.equal(await connect('/choosy', ['first', 'second', bearer]), 'second: hello', 'a service’s own choice stays')
    t.equal(await connect('/mute', [bearer]), 'closed with 1006', 'with nothing beside the token there is none to get')
    t.equal(
      await connect('/wrong', ['chat', bearer]),
      'closed with 1006',
      'a protocol that was never offered is refused',
    )
    await visitor.close()
  },
)
