import type { Prisma } from '@sallyport/database'
import type { Mail } from './mails.ts'

/** The name of the task that sends mails, in the queue, and of the flag by which they are passed over meanwhile. */
export const mailTask = 'mail'

/** The wait after each failed try is e times the one before, from 3 s up to 6 h: the last try comes after 22 hours. */
export const tries = 13

/**
 * Seconds for one job, from the moment it is taken out of the queue. A job that is held for longer was held by a process
 * that was killed, and another one does it (upkeep.ts): whatever runs as a job has to end before.
 */
export const longestJob = 35

/** Queues a mail, to be sent once the transaction is committed. */
export const addMail = (transaction: Prisma.TransactionClient, mail: Mail) => addJob(transaction, mailTask, mail)

/** Queues work, to be done once the transaction is committed. What it holds is kept as it is: no secret belongs in it. */
export async function addJob(transaction: Prisma.TransactionClient, task: string, payload: object): Promise<void> {
  // Its result is a row of a type that Prisma cannot read.
  await transaction.$executeRaw`
    SELECT FROM graphile_worker.add_job(
      ${task}, ${JSON.stringify(payload)}::json, max_attempts => ${tries}::int, flags => ARRAY[${task}]::text[])`
}

/** Queues a mail that notifies a user of what happened, if this system sends mail. */
export type Notify = (transaction: Prisma.TransactionClient, mail: Mail) => Promise<void>

export const createNotify =
  (mail: object | undefined): Notify =>
  async (transaction, content) => {
    if (mail) await addMail(transaction, content)
  }
