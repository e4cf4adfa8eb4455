import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import t from 'tap'
import WebSocket, { WebSocketServer } from 'ws'
import { Issuer, openGateway, startGateway, Upstream } from '../support/edge.ts'
import { claimsOf, eventually, freePort, signIn, startSystem } from '../support/system.ts'

// biome-ignore lint/suspicious/noExplicitAny: messages are whatever the service sends
type Message = any

function open(url: string, protocols: string[], headers: Record<string, string | string[]> = {}) {
  const socket = new WebSocket(url, protocols, { headers })
  const messages: Message[] = []
  socket.on('message', (data) => messages.push(JSON.parse(data.toString())))
  socket.on('error', () => {})
  const opened = new Promise<void>((resolve) => socket.once('open', resolve))
  const closed = new Promise<{ code: number; reason: string }>((resolve) =>
    socket.once('close', (code, reason) => resolve({ code, reason: String(reason) })),
  )
  const refused = new Promise<number>((resolve) =>
    socket.once('unexpected-response', (_request, response) => {
      resolve(response.statusCode as number)
      socket.terminate()
    }),
  )
  return { socket, messages, opened, closed, refused }
}

t.test('live connections through the gateway', async (t) => {
  const system = await startSystem(t, {}, ['appointments', 'notifications'])
  const { gateway } = system
  const address = `${gateway.replace('http', 'ws')}/api/notifications/ws`
  const bearer = (token: string | undefined) => `sallyport.bearer.${token}`
  const doctor = await signIn(gateway)
  const patient = await signIn(gateway, 'patient@example.com')
  const admin = await signIn(gateway, 'admin@example.com')
  const change = async () => {
    const { body } = await doctor.call('GET', '/api/doctor/appointments')
    const path = `/api/doctor/appointments/${body.appointments[0].id}`
    return (await doctor.call('PATCH', path, { body: { reason: 'changed' } })).body
  }

  await t.test('a page connects with its token as a subprotocol, and gets its own one back', async (t) => {
    const { socket, messages, opened } = open(address, ['notes', bearer(doctor.accessToken)], {
      origin: 'https://app.test',
    })
    await opened
    t.equal(socket.protocol, 'notes')
    socket.send('"hello"')
    await eventually('it is greeted and echoed', () => messages.length >= 2)
    const user = { id: claimsOf(doctor.accessToken as string).sub, email: 'doctor@example.com', roles: ['doctor'] }
    t.match(messages, [
      { type: 'welcome', user },
      { type: 'echo', user, message: '"hello"' },
    ])
    socket.close(4000, 'done')
    await once(socket, 'close')
  })

  await t.test('a program connects with its token in the header', async (_t) => {
    const headers = { authorization: `Bearer ${doctor.accessToken}`, 'x-more': ['one', 'two'] }
    const { socket, opened } = open(address, [], headers)
    await opened
    socket.close()
  })

  await t.test('changes of an appointment reach the users they concern, over both kinds of connection', async (t) => {
    const sockets = [doctor, patient, admin].map((client) => open(address, ['notes', bearer(client.accessToken)]))
    await Promise.all(sockets.map(({ opened }) => opened))
    const stream = await fetch(`${gateway}/api/notifications/stream`, {
      headers: { authorization: `Bearer ${patient.accessToken}` },
    })
    t.equal(stream.headers.get('content-type'), 'text/event-stream')
    await eventually('all are greeted', () => sockets.every(({ messages }) => messages.length === 1))
    const changed = await change()
    await eventually('all receive it', () => sockets.every(({ messages }) => messages.length === 2))
    t.match(sockets[0]?.messages[1], {
      type: 'appointment',
      change: 'changed',
      appointment: { id: changed.id, reason: 'changed' },
    })
    let text = ''
    for await (const chunk of stream.body as never as AsyncIterable<Uint8Array>) {
      text += Buffer.from(chunk)
      if (text.includes('event: appointment')) break
    }
    t.match(text, new RegExp(`event: welcome[\\s\\S]*event: appointment\\ndata: .*${changed.id}`))

    const stranger = open(address, ['notes', bearer(patient.accessToken)])
    await stranger.opened
    const own = { patientId: claimsOf(admin.accessToken as string).sub, startsAt: '2030-01-01T00:00:00Z', reason: 'x' }
    await doctor.call('POST', '/api/doctor/appointments', { body: own })
    await eventually('the admin receives it', () => sockets[2]?.messages.length === 3)
    t.equal(stranger.messages.length, 1, 'somebody else does not')
    for (const { socket } of [...sockets, stranger]) socket.close()
  })

  await t.test(
    'without a token, with a bad one, with two, or from a foreign origin there is no connection',
    async (t) => {
      t.equal(await open(address, ['notes']).refused, 401)
      t.equal(await open(address, ['notes', bearer('bad')]).refused, 401)
      t.equal(
        await open(address, ['notes', bearer(doctor.accessToken)], { authorization: `Bearer ${doctor.accessToken}` })
          .refused,
        401,
      )
      t.equal(await open(address, ['notes', bearer(doctor.accessToken)], { origin: 'https://evil.test' }).refused, 403)
      t.match(await doctor.call('GET', '/api/notifications/ws'), { status: 426, body: { code: 'UPGRADE_REQUIRED' } })
      t.equal(await open(address.replace('/ws', '/stream'), ['notes', bearer(doctor.accessToken)]).refused, 404)
      const own = open(address, ['notes', bearer(doctor.accessToken)], { origin: gateway })
      await own.opened
      own.socket.close()
    },
  )

  await t.test('a client that sends and does not read is held back, and gets all once it reads', async (t) => {
    const { socket, messages, opened } = open(address, ['notes', bearer(doctor.accessToken)])
    await opened
    socket.pause()
    // More than all buffers of the system on the way hold.
    const count = 5_000
    for (let sent = 0; sent < count; sent++) socket.send('x'.repeat(16_000))
    let before = 0
    await eventually('no more is taken', async () => {
      const held = socket.bufferedAmount
      await new Promise((resolve) => setTimeout(resolve, 300))
      const isStill = held === before
      before = held
      return isStill
    })
    t.ok(before > 8_000_000, `${before} bytes stay with the client`)
    socket.resume()
    await eventually('all is echoed', () => messages.length === count + 1)
    socket.close()
  })

  await t.test('a client that does not read is disconnected when changes would pile up for it', async (t) => {
    const [slow, reader] = [
      open(address, ['notes', bearer(admin.accessToken)]),
      open(address, ['notes', bearer(admin.accessToken)]),
    ]
    await Promise.all([slow.opened, reader.opened])
    slow.socket.pause()
    const stream = await fetch(`${gateway}/api/notifications/stream`, {
      headers: { authorization: `Bearer ${admin.accessToken}` },
    })
    const [count, atOnce] = [4_000, 100]
    // No more at once than may wait for whoever reads.
    for (let sent = 0; sent < count; sent += atOnce) {
      await system.sql(
        `SELECT pg_notify('sallyport_appointments', json_build_object('change', 'made', 'appointment',
           json_build_object('id', number, 'doctorId', 'x', 'patientId', 'y', 'reason', repeat('z', 7500)))::text)
         FROM generate_series(1, ${atOnce}) AS number`,
      )
      await eventually('who reads gets all', () => reader.messages.length >= sent + atOnce, 20_000)
    }
    slow.socket.resume()
    t.match(await slow.closed, { code: 1006 })
    t.ok(slow.messages.length < count)
    const text = await stream.text().catch(() => 'it broke off')
    t.equal(text, 'it broke off')
    reader.socket.close()
  })

  await t.test('a connection is closed with 4401 when its session ends', async (t) => {
    const phone = await signIn(gateway)
    const [one, another] = [
      open(address, ['notes', bearer(phone.accessToken)]),
      open(address, ['notes', bearer(doctor.accessToken)]),
    ]
    await Promise.all([one.opened, another.opened])
    const stream = await fetch(`${gateway}/api/notifications/stream`, {
      headers: { authorization: `Bearer ${phone.accessToken}` },
    })
    await phone.call('POST', '/api/auth/logout')
    t.strictSame(await one.closed, { code: 4401, reason: 'session ended' })
    t.match(await stream.text(), /event: welcome/, 'an event stream ends too, in order')
    t.equal(another.socket.readyState, WebSocket.OPEN, 'others stay')
    another.socket.close()
  })

  await t.test('and when the roles in its token are no longer the user’s', async (t) => {
    const { socket, opened, closed } = open(address, ['notes', bearer(patient.accessToken)])
    await opened
    t.equal(socket.readyState, WebSocket.OPEN)
    const { sub } = claimsOf(patient.accessToken as string)
    const message = JSON.stringify({ user: sub, roles: ['doctor'], at: Date.now() / 1000 })
    const other = JSON.stringify({ user: sub, roles: ['admin'], at: Date.now() / 1000 })
    const notify = "SELECT pg_notify('sallyport_revocations', $1), pg_notify('sallyport_revocations', $2)"
    await system.sql(notify, [message, other])
    t.strictSame(await closed, { code: 4401, reason: 'roles changed' })
  })

  await t.test('when a service closes, its clients are notified that it goes away', async (t) => {
    const viaGateway = open(address, ['notes', bearer(doctor.accessToken)])
    const direct = await fetch(`${gateway}/api/notifications/stream`, {
      headers: { authorization: `Bearer ${doctor.accessToken}` },
    })
    await viaGateway.opened
    system.processes.notifications.child.kill('SIGTERM')
    t.strictSame(await viaGateway.closed, { code: 1001, reason: 'closing' })
    t.match(await direct.text(), /event: welcome/, 'the stream ends in order')
    await system.processes.notifications.ended
    t.equal(await open(address, ['notes', bearer(doctor.accessToken)]).refused, 502)
  })
})

t.test('a WebSocket through a gateway by itself', async (t) => {
  const upstream = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  t.teardown(() => upstream.close())
  await once(upstream, 'listening')
  const { port } = upstream.address() as AddressInfo
  const wsPort = port
  const plain = await new Upstream().serve(t)
  const mute = await new Upstream().serve(t)
  const edge = await startGateway(
    t,
    [
      { prefix: '/ws', upstreams: [`http://127.0.0.1:${port}`], access: 'optional', websocket: true },
      { prefix: '/plain', upstreams: [plain.url], access: 'public', websocket: true },
      {
        prefix: '/half',
        upstreams: [`http://127.0.0.1:${port}`, `http://127.0.0.1:${await freePort()}`],
        access: 'public',
        websocket: true,
      },
      {
        prefix: '/mute',
        upstreams: [`http://127.0.0.1:${await freePort()}`],
        access: 'public',
        websocket: true,
        timeout: 100,
      },
    ],
    { STREAMS_PER_USER: '2000' },
  )
  const address = edge.gateway.replace('http', 'ws')
  const metrics = async () => (await fetch(`http://127.0.0.1:${edge.process.managementPort}/metrics`)).text()
  const short = () => {
    const now = Math.floor(Date.now() / 1000)
    return edge.issuer.token({ iat: now, exp: now + 4 })
  }

  t.test('is closed with 4401 when its token expires, between two frames of a stream in full flow', async (t) => {
    const flow = upstream.once('connection', (socket) => {
      const send = () =>
        socket.readyState === WebSocket.OPEN && socket.send(Buffer.alloc(70_000, '{"a":1}'), () => setImmediate(send))
      send()
    })
    t.ok(flow)
    const socket = new WebSocket(`${address}/ws`, ['app', `sallyport.bearer.${short()}`])
    let frames = 0
    let broken = false
    socket.on('message', (data: Buffer) => {
      frames += 1
      if (data.length !== 70_000) broken = true
    })
    socket.on('error', () => {
      broken = true
    })
    const [code, reason] = await once(socket, 'close')
    t.equal(code, 4401)
    t.equal(String(reason), 'token expired')
    t.ok(frames > 10)
    t.notOk(broken, 'every frame arrived complete')
  })

  t.test('waits for the end of a frame under way before it says so', async (t) => {
    const accepted = once(upstream, 'connection')
    const token = short()
    const socket = new WebSocket(`${address}/ws`, ['app', `sallyport.bearer.${token}`])
    const received: Buffer[] = []
    socket.on('message', (data: Buffer) => received.push(data))
    const closed = new Promise<number>((resolve) => socket.once('close', resolve))
    const [server] = await accepted
    const frame = Buffer.concat([Buffer.from([0x82, 126, 0x03, 0xe8]), Buffer.alloc(1000, 'x')])
    server._socket.write(frame.subarray(0, 500))
    await eventually('the token has expired', () => Date.now() / 1000 > Number(claimsOf(token).exp) + 0.2)
    server._socket.write(frame.subarray(500, 800))
    await new Promise((resolve) => setTimeout(resolve, 50))
    server._socket.write(Buffer.concat([frame.subarray(800), frame]))
    t.equal(await closed, 4401)
    t.strictSame(
      received.map(({ length }) => length),
      [1000],
      'the frame arrived complete, and none after it',
    )
  })

  t.test('that nobody reads applies backpressure to its service, also while it is being closed', async (t) => {
    const accepted = once(upstream, 'connection')
    const token = short()
    const socket = new WebSocket(`${address}/ws`, ['app', `sallyport.bearer.${token}`])
    const received: Buffer[] = []
    socket.on('message', (data: Buffer) => received.push(data))
    const closed = new Promise<number>((resolve) => socket.once('close', resolve))
    const [server] = (await accepted) as [WebSocket]
    await once(socket, 'open')
    socket.pause()
    const size = 32 * 1024 * 1024
    server.send(Buffer.alloc(size))
    await eventually('the token has expired', () => Date.now() / 1000 > Number(claimsOf(token).exp) + 0.2)
    t.ok(server.bufferedAmount > size / 2, 'it holds what it has not got rid of')
    socket.resume()
    t.equal(await closed, 4401)
    t.strictSame(
      received.map(({ length }) => length),
      [size],
      'the message arrived complete',
    )
  })

  t.test('passes pings and pongs both ways', async (t) => {
    const socket = new WebSocket(`${address}/ws`)
    const [behind] = (await once(upstream, 'connection')) as [WebSocket]
    await once(socket, 'open')
    const [pinged, ponged] = [once(behind, 'ping'), once(socket, 'pong')]
    socket.ping('from the client')
    t.equal(String((await pinged)[0]), 'from the client')
    t.equal(String((await ponged)[0]), 'from the client')
    const [pingedBack, pongedBack] = [once(socket, 'ping'), once(behind, 'pong')]
    behind.ping('from the service')
    t.equal(String((await pingedBack)[0]), 'from the service')
    t.equal(String((await pongedBack)[0]), 'from the service')
    socket.terminate()
  })

  t.test('is one of a thousand that are held, each with its own messages', async (t) => {
    const echo = (behind: WebSocket) => behind.on('message', (message) => behind.send(message))
    upstream.on('connection', echo)
    const sockets: WebSocket[] = []
    for (let hundred = 0; hundred < 10; hundred++) {
      const more = Array.from({ length: 100 }, () => new WebSocket(`${address}/ws`))
      await Promise.all(more.map((socket) => once(socket, 'open')))
      sockets.push(...more)
    }
    const echoes = sockets.map(async (socket) => String((await once(socket, 'message'))[0]))
    for (const [number, socket] of sockets.entries()) socket.send(String(number))
    t.strictSame(
      await Promise.all(echoes),
      sockets.map((_, number) => String(number)),
    )
    upstream.off('connection', echo)
    for (const socket of sockets) socket.terminate()
  })

  t.test('keeps close codes and reasons both ways, and needs no token on an open route', async (t) => {
    const accepted = once(upstream, 'connection')
    const socket = new WebSocket(`${address}/ws`)
    const [server, request] = await accepted
    t.equal(request.headers['x-user-id'], undefined)
    socket.once('open', () => socket.close(4001, 'from the client'))
    const [code, reason] = await once(server, 'close')
    t.strictSame([code, String(reason)], [4001, 'from the client'])

    const again = once(upstream, 'connection')
    const other = new WebSocket(`${address}/ws`)
    const [there] = await again
    there.close(4002, 'from the service')
    const [otherCode, otherReason] = await once(other, 'close')
    t.strictSame([otherCode, String(otherReason)], [4002, 'from the service'])
  })

  t.test('an upstream that does not speak WebSocket sends its own response, one that is gone is 502', async (t) => {
    plain.respond = (_request, response) => response.writeHead(426).end()
    t.equal(await open(`${address}/plain`, []).refused, 426)
    t.equal(await open(`${address}/mute`, []).refused, 502)
    t.ok(mute.url)
  })

  t.test('goes to another upstream when one is gone, which gets no more for a while', async (t) => {
    for (let turn = 0; turn < 8; turn++) {
      const { socket, opened } = open(`${address}/half`, [])
      await opened
      socket.terminate()
    }
    t.equal(edge.log.filter((line) => line.includes('upstream_ejected')).length, 1)
    t.match(await metrics(), /sallyport_request_duration_seconds_count\{route="\/half",method="GET",status="1xx"\} 8/)
  })

  t.test('that gets no response from its upstream is 504, and costs nothing once its client is gone', async (t) => {
    const held: Socket[] = []
    const silent = createServer((socket) => held.push(socket.on('error', () => {}).resume())).listen(0, '127.0.0.1')
    t.teardown(() => silent.close())
    await once(silent, 'listening')
    const { port } = silent.address() as AddressInfo
    const origin = `http://127.0.0.1:${port}`
    const other = await openGateway(
      t,
      [
        { prefix: '/late', upstreams: [origin], access: 'public', websocket: true, timeout: 200 },
        { prefix: '/long', upstreams: [origin], access: 'public', websocket: true },
        { prefix: '/ws', upstreams: [`http://127.0.0.1:${wsPort}`], access: 'public', websocket: true },
      ],
      { STREAMS_PER_USER: '2' },
    )
    const there = other.gateway.replace('http', 'ws')
    const lasting = [open(`${there}/ws`, []), open(`${there}/ws`, [])]
    await Promise.all(lasting.map(({ opened }) => opened))
    t.equal(await open(`${there}/ws`, []).refused, 429, 'a client may have so many')
    for (const { socket } of lasting) socket.terminate()
    await eventually('and gets others in their place', async () => {
      const again = open(`${there}/ws`, [])
      const isOpen = await Promise.race([again.opened.then(() => true), again.refused.then(() => false)])
      again.socket.terminate()
      return isOpen
    })
    t.equal(await open(`${there}/late`, []).refused, 504)
    t.equal(held.length, 1, 'it is not sent twice')
    const { socket } = open(`${there}/long`, [])
    await eventually('it is there', () => held.length === 2)
    socket.terminate()
    await eventually('it is given up', () => held[1]?.closed === true)

    t.equal(other.log.filter((line) => line.includes('"level":"error"')).length, 1, 'the log has what was late alone')
  })

  t.test('when the gateway closes, clients are notified that it goes away', async (t) => {
    const issuer = new Issuer()
    const second = await startGateway(
      t,
      [{ prefix: '/ws', upstreams: [`http://127.0.0.1:${port}`], access: 'public', websocket: true }],
      {},
      issuer,
    )
    const socket = new WebSocket(`${second.gateway.replace('http', 'ws')}/ws`)
    await once(socket, 'open')
    second.process.child.kill('SIGTERM')
    const [code, reason] = await once(socket, 'close')
    t.strictSame([code, String(reason)], [1001, 'going away'])
  })
})
