import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

export interface Mail {
  subject: string
  text: string
}

export interface Smtp {
  port: number
  /** How many mails are there. */
  count(): Promise<number>
  /** Takes the first mail to an address, and waits for it. @throws if none comes in time */
  next(to: string, withinMs?: number): Promise<Mail>
  stop(): Promise<unknown>
}

/** An SMTP server in a process of its own, which the process that measures times knows nothing of. */
export async function startSmtp(): Promise<Smtp> {
  const child = fork(fileURLToPath(new URL('smtp-process.js', import.meta.url)))
  const [{ port }] = (await once(child, 'message')) as [{ port: number }]
  const waiting = new Map<number, (answer: unknown) => void>()
  child.on('message', ({ id, ...answer }: { id: number }) => {
    waiting.get(id)?.(answer)
    waiting.delete(id)
  })
  let asked = 0
  const ask = <Answer>(question: object) =>
    new Promise<Answer>((resolve) => {
      const id = asked++
      waiting.set(id, resolve as (answer: unknown) => void)
      child.send({ id, ...question })
    })
  return {
    port,
    count: async () => (await ask<{ count: number }>({ count: true })).count,
    async next(to, withinMs = 120_000) {
      let timer: NodeJS.Timeout | undefined
      const tooLate = new Promise<never>((_resolve, reject) => {
        timer = setTimeout(() => reject(new Error(`no mail to ${to} within ${withinMs} ms`)), withinMs)
      })
      return Promise.race([ask<Mail>({ to }), tooLate]).finally(() => clearTimeout(timer))
    },
    async stop() {
      const gone = once(child, 'exit')
      child.disconnect()
      await gone
    },
  }
}
