import { once } from 'node:events'
import { connect } from 'node:net'
import { createLogger, Problem } from '@sallyport/chassis'
import t, { type Test } from 'tap'
import { readConfig } from '../config.ts'
import { environmentWith } from '../test-environment.ts'
import { OpenCounts } from '../workers/open-counts.ts'
import { openForwardAuth } from './server.ts'

type Dependencies = Parameters<typeof openForwardAuth>[1]

/** A server for checks with such dependencies in the place of the gateway's. */
async function open(t: Test, dependencies: Partial<Dependencies>) {
  const log: string[] = []
  const { port, close } = await openForwardAuth(0, {
    config: readConfig(environmentWith(t, [])),
    run: async () => [],
    explain: async (_context, error) => error as Problem,
    checkOrigin: () => {},
    ownHeaders: () => [],
    isTrusted: () => true,
    counts: new OpenCounts(),
    logger: createLogger('gateway', 'error', { write: (line) => log.push(line) }),
    ...dependencies,
  })
  t.teardown(close)
  return { port, log }
}

/** Sends a check. @returns its connection, and what was heard until that closed */
function send(port: number, more = '') {
  const socket = connect(port, '127.0.0.1').setEncoding('latin1')
  socket.on('error', () => {})
  let heard = ''
  socket.on('data', (chunk) => {
    heard += chunk
  })
  socket.write(`GET /ext-authz/a HTTP/1.1\r\nHost: g\r\n${more}Connection: close\r\n\r\n`)
  return { socket, closed: once(socket, 'close').then(() => heard) }
}

t.test('an answer that cannot be written ends its connection alone', async (t) => {
  let isBroken = true
  const { port, log } = await open(t, {
    run: () => Promise.reject(new Problem(503, 'UNAVAILABLE', 'Service unavailable')),
    ownHeaders: () => {
      if (isBroken) throw new Error('of ours')
      return []
    },
  })
  t.equal(await send(port).closed, '')
  t.match(log.join(), /connection_ended.*of ours/)
  isBroken = false
  t.match(await send(port).closed, /^HTTP\/1\.1 503 /)
})

t.test(
  'what is no check of anything is refused, and a connection on which nothing comes is closed in silence',
  async (t) => {
    const log: unknown[] = []
    const explain = async (_context: unknown, error: unknown) => {
      log.push(error)
      if (log.length > 1) throw new Error('of ours')
      return error as Problem
    }
    const config = { ...readConfig(environmentWith(t, [])), headersTimeout: 0.1 }
    const { port } = await open(t, { explain, config })
    const say = async (text: string) => {
      const socket = connect(port, '127.0.0.1').setEncoding('latin1')
      let heard = ''
      socket.on('data', (chunk) => {
        heard += chunk
      })
      socket.on('error', () => {})
      socket.write(text)
      await once(socket, 'close')
      return heard
    }
    t.equal(await say(''), '')
    t.strictSame(log, [])
    t.match(await say('what?\r\n\r\n'), /^HTTP\/1\.1 403 [\s\S]*x-sallyport-code: MESSAGE_MALFORMED\r\n/i)
    t.equal(await say('what?\r\n\r\n'), '', 'nor is an answer that cannot be made')
  },
)

t.test('a proxy that leaves before its answer is no fault', async (t) => {
  let decide = () => {}
  const began = new Promise<void>((resolve) => {
    decide = resolve
  })
  let left: Promise<unknown> = Promise.resolve()
  const { port, log } = await open(t, {
    run: async (context) => {
      context.target = { path: '/a', query: '' }
      decide()
      await left
      return []
    },
  })
  const { socket, closed } = send(port)
  left = closed
  await began
  socket.destroy()
  await closed
  left = Promise.resolve()
  t.match(await send(port).closed, /^HTTP\/1\.1 200 /)
  t.strictSame(log, [])
})
