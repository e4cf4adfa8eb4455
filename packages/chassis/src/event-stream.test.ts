import { once } from 'node:events'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { openEventStream } from './event-stream.ts'

interface Events {
  welcome: { user: string }
  change: { at: number }
}

async function serve(t: Test, mostWaiting?: number) {
  const app = Fastify()
  t.teardown(() => app.close())
  const closed = new Promise<void>((resolve) => {
    app.get('/', async (_request, reply) => {
      const stream = openEventStream<Events>(
        reply.header('x-own', '1'),
        mostWaiting === undefined ? {} : { mostWaiting },
      )
      stream.onClose(resolve)
      if (mostWaiting === undefined) {
        stream.send('welcome', { user: 'zoë' })
        stream.keepAlive()
        stream.send('change', { at: 1 })
        stream.end()
      } else for (let at = 0; at < 100_000 && !reply.raw.destroyed; at++) stream.send('change', { at })
    })
    app.get('/refused', async (_request, reply) => {
      openEventStream<Events>(reply)
      throw new Error('before the first event')
    })
  })
  return { app, closed }
}

t.test('events have a name and JSON, and the reply keeps its headers', async (t) => {
  const { app } = await serve(t)
  const { headers, body } = await app.inject('/')
  t.equal(body, 'event: welcome\ndata: {"user":"zoë"}\n\n: alive\n\nevent: change\ndata: {"at":1}\n\n')
  t.match(headers, { 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-own': '1' })
})

t.test('an error before the first event gets a response as any other', async (t) => {
  const { app } = await serve(t)
  t.equal((await app.inject('/refused')).statusCode, 500)
})

t.test('a client that does not read is cut off once too much waits for it', async (t) => {
  const { app, closed } = await serve(t, 64 * 1024)
  const address = await app.listen({ port: 0 })
  await t.rejects(fetch(address).then((response) => response.text()))
  await closed
})

t.test('a client that is gone is noticed at once', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  const gone = new Promise<void>((resolve) => {
    app.get('/', async (_request, reply) => {
      await once(reply.raw, 'close')
      openEventStream(reply).onClose(resolve)
    })
  })
  const leaving = new AbortController()
  const requesting = fetch(await app.listen({ port: 0 }), { signal: leaving.signal })
  setTimeout(() => leaving.abort(), 100)
  await t.rejects(requesting)
  await gone
})
