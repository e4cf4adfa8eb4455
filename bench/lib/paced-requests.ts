import { setImmediate } from 'node:timers/promises'
import { TimedConnection } from './timed-connection.ts'

/**
 * Sends a request again and again at an even pace, whether or not the responses have come (an open loop), on as many
 * connections as are needed at a time, up to some. Keeps its core busy meanwhile, as timers are no more even than a millisecond.
 *
 * @param address of the server
 * @returns the milliseconds from when each was due until its response was complete
 */
export async function pacedRequests(
  address: string,
  request: string,
  { perSecond, seconds, connections }: { perSecond: number; seconds: number; connections: number },
): Promise<number[]> {
  const idle = Array.from({ length: connections }, () => new TimedConnection(address))
  const due: number[] = []
  const times: number[] = []
  const count = perSecond * seconds
  const start = performance.now()
  let failure: unknown

  async function exchange(first: TimedConnection): Promise<void> {
    let connection = first
    for (let time = due.shift(); time !== undefined; time = due.shift()) {
      const { head } = await connection.exchange(request)
      times.push(performance.now() - time)
      if (!head.startsWith('HTTP/1.1 200 ')) throw new Error(`the response is not 200: ${head}`)
      if (!/^connection: close/im.test(head)) continue
      connection.close()
      connection = new TimedConnection(address)
    }
    idle.push(connection)
  }

  for (let sent = 0; times.length < count && failure === undefined; ) {
    const now = performance.now()
    for (; sent < count && start + (sent * 1000) / perSecond <= now; sent++) {
      due.push(start + (sent * 1000) / perSecond)
      // The one that has been idle for longest, so that none is closed for being so.
      const connection = idle.shift()
      if (connection)
        exchange(connection).catch((error) => {
          failure ??= error
        })
    }
    await setImmediate()
  }
  if (failure !== undefined) throw failure
  for (const connection of idle) connection.close()
  return times
}
