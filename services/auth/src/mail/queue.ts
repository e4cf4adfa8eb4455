import type { Prisma } from '@sallyport/database'
import type { Mail } from './templates.ts'

/** The name of the task that sends mails, in the queue. */
export const mailTask = 'mail'

/** The wait after each failed try is e times the one before, from 3 s up to 6 h: the last try comes after 22 hours. */
const tries = 13

/** Queues a mail, to be sent once the transaction is committed. */
export async function addMail(transaction: Prisma.TransactionClient, mail: Mail): Promise<void> {
  // Its result is a row of a type that Prisma cannot read.
  await transaction.$executeRaw`
    SELECT FROM graphile_worker.add_job(${mailTask}, ${JSON.stringify(mail)}::json, max_attempts => ${tries}::int)`
}
