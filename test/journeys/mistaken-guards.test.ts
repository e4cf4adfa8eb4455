import { setImmediate } from 'node:timers/promises'
import { headersOf, type Identity } from '@sallyport/identity'
import * as ofExpress from '@sallyport/identity/express'
import * as ofFastify from '@sallyport/identity/fastify'
import * as ofHono from '@sallyport/identity/hono'
import * as ofNode from '@sallyport/identity/node'
import connect from 'connect'
import express from 'express'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { express4, frameworks, listen } from '../support/frameworks.ts'

const plain = { verify: false } as const
const doctor: Identity = {
  caller: 'user',
  userId: 'user-1',
  email: 'doctor@example.com',
  role: 'doctor',
  roles: ['doctor'],
  sessionId: 'session-1',
}

/** What a server says to a doctor and to nobody. */
const ask = (origin: string) =>
  Promise.all(
    [headersOf(doctor), {}].map(async (headers) => {
      const response = await fetch(`${origin}/ward`, { headers, signal: AbortSignal.timeout(5000) })
      return { status: response.status, body: await response.text() }
    }),
  )

const mistaken = {
  "Fastify's": ofFastify.requireRole(['doctor'], plain),
  "node:http's": ofNode.requireRole(['doctor'], plain),
  "Hono's": ofHono.requireRole(['doctor'], plain),
}

const listeners = {
  'Express 5': (t: Test, guard: never) => listen(t, express().get('/ward', guard, enter)),
  'Express 4': (t: Test, guard: never) => listen(t, express4().get('/ward', guard, enter)),
  Connect: (t: Test, guard: never) => listen(t, connect().use('/ward', guard).use('/ward', enter)),
}

const enter = (_request: unknown, response: { end(text: string): void }) => response.end('inside')

for (const [name, serve] of Object.entries(listeners))
  for (const [whose, guard] of Object.entries(mistaken))
    t.test(`in ${name}, a guard of ${whose} lets nobody wait, or pass, and says which is right`, async (t) => {
      const lines: string[] = []
      t.intercept(console, 'error', { value: (line: unknown) => lines.push(String(line)) })
      const responses = await ask(await serve(t, guard as never))
      for (const { status, body } of responses) {
        t.equal(status, 500)
        t.notMatch(body, 'inside')
      }
      // It is logged once the response is on its way.
      while (lines.length < responses.length) await setImmediate()
      for (const line of lines) t.match(line, '@sallyport/identity/express')
    })

for (const [whose, guard] of Object.entries({
  "Express's": ofExpress.requireRole(['doctor'], plain),
  "node:http's": ofNode.requireRole(['doctor'], plain),
  "Hono's": ofHono.requireRole(['doctor'], plain),
}))
  t.test(`in Fastify, a guard of ${whose} lets nobody pass`, async (t) => {
    const lines: string[] = []
    const app = Fastify({ logger: { stream: { write: (line: string) => lines.push(line) } } })
    t.teardown(() => app.close())
    app.get('/ward', { preHandler: guard as never }, async () => 'inside')
    for (const { status, body } of await ask(await app.listen())) {
      t.equal(status, 500)
      t.notMatch(body, 'inside')
    }
    t.equal(lines.filter((line) => line.includes('/fastify, /hono')).length, 2)
  })

t.test('in plain Fastify, without an error handler of the application, a refusal is in its own form', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.get('/ward', { preHandler: ofFastify.requireRole(['admin'], plain) }, async () => 'inside')
  const refused = await app.inject({ url: '/ward', headers: headersOf(doctor) })
  t.match(refused.json(), { statusCode: 403, code: 'ROLE_REQUIRED', message: 'This needs the role admin' })
  const nobody = await app.inject('/ward')
  t.match(nobody.json(), { statusCode: 401, code: 'TOKEN_MISSING' })
  t.equal(nobody.headers['www-authenticate'], 'Bearer')
})

t.test('in Nest, who is calling is asked for behind a guard alone', async (t) => {
  for (const name of ['Nest on Express', 'Nest on Fastify'] as const) {
    const origin = await frameworks[name](t, () => [['/ward', []]])
    for (const { status, body } of await ask(origin)) {
      t.equal(status, 500)
      t.notMatch(body, 'doctor')
    }
  }
})
