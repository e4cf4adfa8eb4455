import { setTimeout as sleep } from 'node:timers/promises'
import { type Logger, repeat } from '@sallyport/chassis'
import type { Database } from '@sallyport/database'
import type { FactorKey } from '../factors/factor-key.ts'
import { type Delivery, findDue, isStopped, releaseDelivery, settleDelivery, takeDelivery } from './queue.ts'
import { openSecrets } from './secrets.ts'
import type { Sender } from './send.ts'
import { startUpkeep } from './upkeep.ts'

/** Milliseconds from one look for something to send to the next. */
const pause = 250

/** How many attempts a process makes at once for one webhook. Those of another one do not wait for them. */
const lanes = 4

/** Milliseconds for attempts that are being made when the process ends: it has 4.5 seconds for everything. */
const stopTimeout = 2_500

interface Dependencies {
  database: Database
  factorKey: FactorKey
  sender: Sender
  logger: Logger
}

/**
 * Sends to webhooks what is queued for them, for as long as this process runs. Every process of the service does; each
 * attempt is made by one of them.
 *
 * @returns how to stop
 */
export function startWebhooks({ database, factorKey, sender, logger }: Dependencies): () => Promise<void> {
  const running = new Map<string, Set<Promise<void>>>()
  let isStopping = false
  let isLost = false

  function onError(err: unknown): void {
    if (!isLost) logger.warn({ event: 'webhook_queue_lost', err })
    isLost = true
  }

  async function attempt(delivery: Delivery): Promise<void> {
    const { webhookId, url, message } = delivery
    const secrets = openSecrets(factorKey, webhookId, delivery.secrets)
    const outcome = await sender.send({ url, secrets }, message)
    if (isStopped(outcome)) return void (await releaseDelivery(database, delivery))
    const { status, error } = outcome
    if (error !== null) logger.warn({ event: 'webhook_failed', webhook: webhookId, message: message.id, status, error })
    const disabled = await settleDelivery(database, delivery, outcome)
    if (disabled !== undefined) logger.error({ event: 'webhook_disabled', reason: disabled })
  }

  /** Sends one after the other, until there is none. Where there is one there may be more: others do so too. */
  async function drain(webhookId: string): Promise<void> {
    while (!isStopping) {
      const delivery = await takeDelivery(database, webhookId)
      if (delivery === undefined) return
      if (delivery === 'again') continue
      openLane(webhookId)
      await attempt(delivery)
    }
  }

  function openLane(webhookId: string): void {
    const open = running.get(webhookId) ?? new Set()
    if (open.size >= lanes) return
    running.set(webhookId, open)
    const lane = drain(webhookId)
      .catch(onError)
      .finally(() => {
        open.delete(lane)
        if (open.size === 0) running.delete(webhookId)
      })
    open.add(lane)
  }

  async function lookAround(): Promise<void> {
    for (const id of await findDue(database)) openLane(id)
    isLost = false
  }
  const stopLooking = repeat(lookAround, { pause, first: 0, onError })
  const stopUpkeep = startUpkeep(database, onError)

  return async () => {
    isStopping = true
    await Promise.all([stopLooking(), stopUpkeep()])
    const left = Promise.all([...running.values()].flatMap((open) => [...open]))
    const patience = new AbortController()
    await Promise.race([left, sleep(stopTimeout, undefined, { signal: patience.signal }).catch(() => {})])
    patience.abort()
    sender.stop()
    await left
  }
}
