import { hash, verify } from 'argon2'
import type { HashingResult, HashingTask } from './hashing.ts'
import { readStored } from './stored-hash.ts'

/** The process that hashes passwords, for hashing.ts: a task comes as a message, and so goes its result. */

process.on('disconnect', process.exit)
// A terminal or a supervisor sends these to us too, while hashes are still waited for.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => {})
process.on('message', async ({ id, work }: { id: number; work: HashingTask }) => {
  const result: HashingResult = await perform(work).then(
    (value) => ({ value }),
    (error: Error) => ({ fault: error.message }),
  )
  send({ id, ...result })
})
// From here on a result takes no longer than its hash.
send({})

/** Should who started us have just ended, the channel says so by itself, and nothing else keeps us. */
function send(message: object): void {
  process.send?.(message, undefined, undefined, () => {})
}

async function perform(work: HashingTask): Promise<string | boolean> {
  switch (work.kind) {
    case 'hash':
      return hash(work.password, work.parameters)
    case 'verify':
      return compare(work.stored, work.password)
    case 'judge':
      // Its dictionary takes time and memory that logins do not need.
      return (await import('./guessable.ts')).isGuessable(work.password, work.words)
  }
}

async function compare(text: string, password: string): Promise<boolean> {
  const stored = readStored(text)
  if (!stored) throw new Error('the stored hash is none')
  if (stored.kind === 'argon2') return verify(text, password)
  // Where nobody was imported, what compares is not even loaded.
  return (await import('./foreign-hash.ts')).compareForeign(stored, password)
}
