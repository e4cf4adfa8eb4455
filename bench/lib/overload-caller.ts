import { logInAtFullSpeed, logInAtPace, requestAtPace, type Target } from './auth-load.ts'

/**
 * A caller in a process of its own, for bench/runs/overload.ts, so that none waits for what another one has to do: whom it
 * calls comes as the first message, then one task after the other, and so goes what became of each.
 */
export type Task =
  | { kind: 'waiting logins'; seconds: number; atOnce: number }
  | { kind: 'logins'; seconds: number; perSecond: number }
  | { kind: 'refreshes'; seconds: number; perSecond: number }

export interface Outcomes {
  /** How many succeeded in that time. */
  'waiting logins': number
  /** The same, and the milliseconds after which each of the others was shed. */
  logins: { succeeded: number; shed: number[] }
  /** The milliseconds that each took. */
  refreshes: number[]
}

let target: Target | undefined
process.on('disconnect', process.exit)
process.on('message', async (message: Target | Task) => {
  if ('kind' in message) process.send?.(await perform(target as Target, message))
  else target = message
})

async function perform(target: Target, task: Task): Promise<Outcomes[Task['kind']]> {
  switch (task.kind) {
    case 'waiting logins':
      return logInAtFullSpeed(target, task.seconds, task.atOnce)
    case 'logins':
      return overload(target, task.seconds, task.perSecond)
    case 'refreshes':
      return requestAtPace(target, task.seconds, task.perSecond)
  }
}

async function overload(target: Target, seconds: number, perSecond: number): Promise<Outcomes['logins']> {
  const end = performance.now() + seconds * 1000
  const responses = await logInAtPace(target, seconds, perSecond)
  const unexpected = responses.find(({ status }) => status !== 200 && status !== 503)
  if (unexpected) throw new Error(`a login got ${unexpected.status}`)
  return {
    succeeded: responses.filter(({ status, at }) => status === 200 && at <= end).length,
    shed: responses.filter(({ status }) => status === 503).map(({ took }) => took),
  }
}
