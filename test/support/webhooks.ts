import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import http, { type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { Webhook } from 'standardwebhooks'
import type { Test } from 'tap'
import { openFactors } from './factors.ts'
import { actOn } from './machines.ts'
import { eventually } from './system.ts'

/** A delivery as it came. */
export interface Delivered {
  path: string
  id: string
  type: string
  timestamp: string
  // biome-ignore lint/suspicious/noExplicitAny: tests look at whatever came
  data: any
  headers: IncomingHttpHeaders
  body: string
}

type Respond = (delivered: Delivered, response: ServerResponse) => void

/** A receiver of webhooks, that takes whatever comes until it is told otherwise. */
export async function startReceiver(t: Test) {
  const state = { respond: ((_, response) => response.writeHead(204).end()) as Respond, received: [] as Delivered[] }
  const server = http.createServer(async (request, response) => {
    const body = await text(request)
    const { headers } = request
    const { type, timestamp, data } = JSON.parse(body)
    const [path, id] = [request.url as string, headers['webhook-id'] as string]
    const delivered = { path, id, type, timestamp, data, headers, body }
    state.received.push(delivered)
    state.respond(delivered, response)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  const { port } = server.address() as AddressInfo
  return Object.assign(state, { origin: `http://127.0.0.1:${port}` })
}

/** A system with a receiver of webhooks, and an administrator who makes them. */
export async function openWebhooks(t: Test, settings: Record<string, string> = {}) {
  const receiver = await startReceiver(t)
  const system = await openFactors(t, { WEBHOOK_ORIGINS: receiver.origin, ...settings })
  const machines = await actOn(system)
  const { administer } = machines
  const { sql } = system

  /** A webhook of its own path at the receiver. */
  async function make(events: string[], url = `${receiver.origin}/${randomUUID()}`) {
    const { status, body } = await administer('POST', 'webhooks', { name: 'a webhook', url, events })
    if (status !== 201) throw new Error(`making a webhook returned ${status} ${JSON.stringify(body)}`)
    const id = body.id as string
    const path = new URL(url).pathname
    return {
      ...{ id, path },
      secret: body.secret as string,
      received: () => receiver.received.filter((delivered) => delivered.path === path),
      /** Waits for so many deliveries in all. */
      async wait(count: number) {
        const received = () => receiver.received.filter((delivered) => delivered.path === path)
        await eventually(`${count} deliveries to ${path}`, () => received().length >= count)
        return received()
      },
      /** Waits until every delivery is made or dead, but for those that have failed so often. */
      settled: (failures = 0) =>
        eventually('nothing is due', async () => {
          const { rows } = await sql(
            `SELECT FROM auth.webhook_deliveries
             WHERE webhook_id = $1 AND state = 'pending' AND ($2 = 0 OR attempts < $2)`,
            [id, failures],
          )
          return rows.length === 0
        }),
      deliveries: async (query = '') => (await administer('GET', `webhooks/${id}/deliveries${query}`)).body.deliveries,
      details: async () => (await administer('GET', `webhooks/${id}`)).body,
      /** Lets time pass for what waits: all is due that waits for no other. */
      due: (age = '0 seconds') =>
        sql(
          `UPDATE auth.webhook_deliveries SET next_at = now(), queued_at = queued_at - $2::interval
           WHERE webhook_id = $1 AND state = 'pending'`,
          [id, age],
        ),
    }
  }

  return { ...system, ...machines, receiver, make }
}

/** As a receiver verifies it. @throws if it was not signed with the secret */
export const verify = (secret: string, { body, headers }: Delivered): unknown =>
  new Webhook(secret).verify(body, headers as Record<string, string>)
