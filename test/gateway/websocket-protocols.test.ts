import { createServer } from 'node:http'
import t from 'tap'
import { exchange, listen, openGateway } from '../support/edge.ts'

t.test(
  'a client whose token came as a subprotocol gets one of its own back, whatever its service knows of them',
  async (t) => {
    const offered: (string | undefined)[] = []
    const service = createServer()
    service.on('upgrade', ({ url, headers }, socket) => {
      offered.push(headers['sec-websocket-protocol'])
      const selected = decodeURIComponent((url as string).split('?')[1] ?? '')
      const line = selected === '' ? '' : `Sec-WebSocket-Protocol: ${selected}\r\n`
      socket.end(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${line}\r\n`)
    })
    const upstreams = [await listen(t, service)]
    const { port, issuer } = await openGateway(t, [
      { prefix: '/live', upstreams, access: 'authenticated', websocket: true },
      { prefix: '/open', upstreams, access: 'public', websocket: true },
    ])
    const token = issuer.token()
    const bearer = `sallyport.bearer.${token}`
    const upgrade = async (path: string, lines: string[]) => {
      const response = await exchange(
        port,
        [
          `GET ${path} HTTP/1.1`,
          'Host: g',
          'Connection: Upgrade',
          'Upgrade: websocket',
          'Sec-WebSocket-Key: x',
          'Sec-WebSocket-Version: 13',
          ...lines,
          '\r\n',
        ].join('\r\n'),
      )
      t.match(response, /^HTTP\/1\.1 101 /)
      return [...response.matchAll(/^sec-websocket-protocol: (.*)\r$/gim)].map(([, protocol]) => protocol)
    }
    const protocols = (...lists: string[]) => lists.map((list) => `Sec-WebSocket-Protocol: ${list}`)

    for (const [name, path, lines, ...selected] of [
      ['one beside the token', '/live', protocols(`chat, ${bearer}`), 'chat'],
      ['one after the token', '/live', protocols(`${bearer},chat`), 'chat'],
      ['the first of several', '/live', protocols(`a, ${bearer}, b`), 'a'],
      ['the first of several lines', '/live', protocols(bearer, 'a', 'b'), 'a'],
      ['on a public route too, where the token is not looked at', '/open', protocols(`chat, ${bearer}`), 'chat'],
      ['the one that the service selects', '/live?b', protocols(`a, b, ${bearer}`), 'b'],
      ['also one that was never offered, as the service says it', '/live?other', protocols(`a, ${bearer}`), 'other'],
      ['what is no protocol is passed over', '/live', protocols(`"a", b c, é, d, ${bearer}`), 'd'],
      ['none where nothing but the token was offered', '/live', protocols(bearer)],
      ['none where nothing else is a protocol', '/live', protocols(`a b, ${bearer}`)],
      ['none where no token was', '/open', protocols('chat')],
      ['none where nothing was', '/open', []],
      ['none where the token is in the header', '/live', [...protocols('chat'), `Authorization: Bearer ${token}`]],
    ] as [string, string, string[], ...string[]][])
      t.strictSame(await upgrade(path, lines), selected, name)
    t.notOk(
      offered.some((list) => list?.includes('bearer')),
      'no service sees the token',
    )
  },
)
