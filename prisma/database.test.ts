import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import pg from 'pg'
import t, { type Test } from 'tap'
import { createDatabase, explain, isOutage, waitForDatabase } from './database.ts'
import { Prisma } from './generated/client.ts'

const clientVersion = 'test'
const known = (code: string, meta?: Record<string, unknown>) =>
  new Prisma.PrismaClientKnownRequestError('hush', { code, clientVersion, ...(meta ? { meta } : {}) })
const raw = (originalCode: string) => known('P2010', { driverAdapterError: { cause: { originalCode } } })
const refused = (code: string) => Object.assign(new pg.DatabaseError('hush', 0, 'error'), { code })

/** What TLS says of a server whose certificate is not good. */
const untrusted = [
  'CERT_HAS_EXPIRED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'ERR_TLS_CERT_ALTNAME_INVALID',
]

t.test('an error that says the database cannot serve just now is an outage', async (t) => {
  t.ok(isOutage(new Prisma.PrismaClientInitializationError('hush', clientVersion)))
  t.ok(isOutage(new Prisma.PrismaClientUnknownRequestError('hush', { clientVersion })))
  for (const code of ['P1001', 'P1008', 'P1017', 'P2024', 'P2028']) t.ok(isOutage(known(code)), code)
  for (const state of ['08006', '53300', '57014', '57P01', '58030', '40001', '40P01', '25006'])
    for (const error of [raw(state), refused(state)]) t.ok(isOutage(error), `SQLSTATE ${state}: ${error.name}`)
  for (const state of ['28000', '28P01', '3D000']) t.ok(isOutage(refused(state)), `SQLSTATE ${state}`)
  for (const code of ['P2034', 'P2037', 'P2039'])
    t.ok(isOutage(known(code, { driverAdapterError: { cause: { originalCode: '57P01' } } })), code)
  for (const code of ['EPIPE', 'EHOSTUNREACH', 'ENOTFOUND', 'EAI_AGAIN', 'ECONNABORTED', ...untrusted])
    t.ok(isOutage(Object.assign(new Error('hush'), { code })), code)
  t.ok(isOutage(new Error('The server does not support SSL connections')))
  t.ok(isOutage(known('P2010')), 'it did not say whether it committed')
})

t.test('an error about what was asked is none', async (t) => {
  for (const code of ['P2002', 'P2003', 'P2021', 'P2025']) t.notOk(isOutage(known(code)), code)
  for (const state of ['23505', '42601', '42P01', '22P02', '25001'])
    for (const error of [raw(state), refused(state)]) t.notOk(isOutage(error), `SQLSTATE ${state}: ${error.name}`)
  const others = [
    new Error('hush'),
    Object.assign(new Error('Connection terminated'), { code: 'ENOENT' }),
    'Connection terminated',
    null,
    undefined,
  ]
  for (const error of others) t.notOk(isOutage(error), String(error))
})

/** A connection to what is no Postgres, and treats who connects like this. */
async function connectTo(t: Test, treat: (socket: Socket) => void) {
  const sockets: Socket[] = []
  const server = createServer((socket) => {
    sockets.push(socket.on('error', () => {}))
    treat(socket)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const url = `postgresql://someone:hush@127.0.0.1:${port}/none`
  const database = createDatabase(url, { connections: 1, onError: () => {} })
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy()
    server.close()
    await database.$disconnect()
  })
  return { database, stop: () => new Promise((resolve) => server.close(resolve)) }
}

/** What Postgres says when it lets nobody in (ErrorResponse of its protocol). */
function refusal(state: string): Buffer {
  const fields = Buffer.from(`SFATAL\0VFATAL\0C${state}\0Mnot now\0\0`)
  const head = Buffer.from('E____')
  head.writeInt32BE(fields.length + 4, 1)
  return Buffer.concat([head, fields])
}

t.test('a server that is gone, lets nobody in or drops who came is an outage, however it is asked', async (t) => {
  const letIn = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 0, 0x5a, 0, 0, 0, 5, 0x49])
  /** Lets in who connects, or ends what was asked well, and waits for the next. */
  const letInto = (socket: Socket, then: () => void) => socket.write(letIn, () => socket.once('data', then))
  const treatments: Record<string, (socket: Socket) => void> = {
    'closes at once': (socket) => socket.end(),
    'resets at once': (socket) => socket.resetAndDestroy(),
    'never answers': () => {},
    'is starting up': (socket) => socket.once('data', () => socket.end(refusal('57P03'))),
    'has no connection left': (socket) => socket.once('data', () => socket.end(refusal('53300'))),
    'dies once it has let in': (socket) => letInto(socket, () => socket.destroy()),
    'dies in the query': (socket) =>
      socket.once('data', () => letInto(socket, () => letInto(socket, () => socket.destroy()))),
  }
  await Promise.all(
    Object.entries(treatments).map(async ([name, treat]) => {
      const { database } = await connectTo(t, treat)
      const one = { name: 'one', text: 'SELECT 1' }
      const ways = [
        () => database.user.findFirst(),
        () => database.$queryRaw`SELECT 1`,
        () => database.run(one, []),
      ] as const
      for (const ask of ways) {
        const error = await ask().catch((error: unknown) => error)
        t.ok(isOutage(error), `${name}: ${error}`)
      }
    }),
  )
  const { database, stop } = await connectTo(t, () => {})
  await stop()
  const error = await database.user.findFirst().catch((error) => error)
  t.ok(isOutage(error), `nobody listens: ${error}`)
})

t.test('where no database answers, the line says what to correct and holds no password', async (t) => {
  const { database, stop } = await connectTo(t, () => {})
  await stop()
  await t.rejects(waitForDatabase(database, 0.3), {
    name: 'ConfigurationError',
    message: /^the database does not answer \((?!.*hush).+\); start it, or correct DATABASE_URL$/,
  })
})

t.test(
  'a database whose every address refuses is explained by the code, since such an error has no words',
  async (t) => {
    const error = Object.assign(new AggregateError([]), { code: 'ECONNREFUSED' })
    t.match(explain(error).message, /does not answer \(ECONNREFUSED\); start it, or correct DATABASE_URL/)
  },
)

t.test('a server that takes no writes, and a pooler that mixes statements up, are explained', async (t) => {
  t.match(explain(refused('25006')).message, /takes no writes .* have DATABASE_URL lead to the primary/)
  for (const error of [refused('42P05'), raw('26000')])
    t.match(explain(error).message, /does not keep sessions; .*pool_mode=session.*DATABASE_DIRECT_URL/)
})
