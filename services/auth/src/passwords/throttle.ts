import type { Database, Prisma, Statement } from '@sallyport/database'
import { spellingsOf } from '@sallyport/identity'
import type { FastifyRequest } from 'fastify'
import type { Config } from '../config.ts'
import { record } from '../events/security-events.ts'
import { addJob } from '../mail/queue.ts'
import { circumstancesOf } from '../sessions/device.ts'
import type { DerivedKeys } from '../tokens/derived-keys.ts'
import { manyFailuresTask } from './many-failures.ts'
import { throttled } from './metrics.ts'
import { busy, type Passwords, type Verdict } from './passwords.ts'
import { createTurns } from './turns.ts'

/** With the fifth wrong password in a row the next has to wait for 30 s, and twice as long with every further one. */
export const free = 5
const shortestWait = 30
const longestWait = 3_600

/** Wrong passwords in a row after which none is tried (NIST SP 800-63B-4 section 3.2.2), and those of which the user is notified. */
const most = 100
const many = 10

/** What every refusal of a password says, whether it was tried or not. */
export const waitAfterFailures = 'After several wrong ones in a row, none is tried for a while.'

/** What wrong passwords are counted by: a person, and the device that they come from. */
export interface Bucket {
  /** A user's id; an HMAC of the address where there is no account. */
  person: string
  hasAccount: boolean
  /** Empty for all unknown devices, which count together. */
  device: string
}

/**
 * What a login counts towards. All spellings of an address count together; so that there need not be an account, and a
 * change of the address or of the secret begins no new count where there is one, a user counts by id.
 *
 * @param device the id of a device that is known to the user
 */
export function bucketOfLogin(
  keys: DerivedKeys,
  email: string,
  userId: string | undefined,
  device: string | undefined,
): Bucket {
  const [digest] = keys.digests('guessing', spellingsOf(email)[0])
  return { person: userId ?? digest.toString('base64url'), hasAccount: userId !== undefined, device: device ?? '' }
}

/** What a password counts towards that is asked for in a session: an attacker who has stolen that cannot guess on and on. */
export const bucketOfSession = ({ userId, sessionId }: { userId: string; sessionId: string }): Bucket => ({
  person: userId,
  hasAccount: true,
  device: `session ${sessionId}`,
})

export interface Throttle {
  /**
   * Carries out work that checks passwords which count towards the same bucket, one after the other, unless load is shed:
   * so each begins with what became of the one before. Who waits for a turn takes no place from others.
   *
   * @param turn names whose passwords they are and where they come from, by the request alone: nothing is looked up for it
   * @throws 503 LOGIN_BUSY when too many wait, or as `Passwords.admit` does
   */
  admit<Outcome>(turn: string, work: () => Promise<Outcome>): Promise<Outcome>
  /**
   * Compares a password with a stored hash, unless too many wrong ones have come before it. It takes as long then, and
   * says nothing of the password.
   *
   * It counts before it compares, so that however many come at once, also to other processes, no more are compared than
   * may be. Success is for the caller to clear, once nothing else speaks against it.
   *
   * @throws what `Passwords.verify` does; that attempt does not count
   */
  verify(
    request: FastifyRequest,
    bucket: Bucket,
    stored: string | undefined,
    password: string,
  ): Promise<Verdict | 'throttled'>
}

interface Dependencies {
  config: Pick<Config, 'mail'>
  database: Database
  passwords: Passwords
}

export function createThrottle({ config, database, passwords }: Dependencies): Throttle {
  const takeTurn = createTurns(busy)

  return {
    admit: (turn, work) => takeTurn(turn, () => passwords.admit(work)),
    async verify(request, bucket, stored, password) {
      const failures = await reserveAttempt(database, bucket)
      if (failures === undefined) {
        throttled.inc({ path: request.routeOptions.url as string })
        await passwords.compareInVain(stored, password, bucket.person)
        return 'throttled'
      }
      const verdict = await passwords.verify(stored, password, bucket.person).catch(async (error) => {
        await giveBack(database, bucket)
        throw error
      })
      if (verdict === 'wrong' || verdict === 'unreadable') await note(request, bucket, failures)
      return verdict
    },
  }

  /** The same is done for an address without an account: what is to be said to whom, the queue finds out. */
  async function note(request: FastifyRequest, { person, hasAccount }: Bucket, failures: number): Promise<void> {
    const user = hasAccount ? person : undefined
    if (failures === many && config.mail)
      await addJob(database, manyFailuresTask, { user: user ?? null, ...circumstancesOf(request) })
    if (failures === most) await record(database, request.log, { event: 'guessing_stopped', user, ip: request.ip })
  }
}

/** One statement, so that no two attempts read the same count. It returns nothing while the bucket waits. */
const reserveStatement: Statement = {
  name: 'reserve_attempt',
  text: `
    INSERT INTO auth.password_failures AS f (person, device, has_account, failures) VALUES ($1, $2, $3, 1)
    ON CONFLICT (person, device) DO UPDATE SET
      failures = f.failures + 1,
      last_at = now(),
      opens_at = CASE WHEN f.failures + 1 >= ${free} THEN
        now() + least(${shortestWait} * power(2, f.failures + 1 - ${free}), ${longestWait}) * interval '1 second' END
    WHERE f.failures < ${most} AND (f.opens_at IS NULL OR f.opens_at <= now())
    RETURNING failures`,
}

/** @returns which failure in a row it is, if it is one; undefined if the password may not be tried */
export async function reserveAttempt(
  database: Database,
  { person, device, hasAccount }: Bucket,
): Promise<number | undefined> {
  const [reserved] = await database.run<{ failures: number }>(reserveStatement, [person, device, hasAccount])
  return reserved?.failures
}

/** A password that was not compared is no wrong one. The bucket was open, so it is again. */
async function giveBack(database: Database, { person, device }: Bucket): Promise<void> {
  await database.$executeRaw`
    UPDATE auth.password_failures SET failures = greatest(failures - 1, 0), opens_at = now()
    WHERE person = ${person} AND device = ${device}`
}

/** Forgets the wrong passwords that came before a right one. A login does so in its own statement (sessions/open.ts). */
export async function clearFailures(database: Database, { person, device }: Bucket): Promise<void> {
  await database.passwordFailures.deleteMany({ where: { person, device } })
}

/**
 * Forgets every wrong password for a user, wherever it came from: they have proved by other means who they are, or an
 * administrator has. Also those for the address from before it had an account.
 */
export async function unlockUser(
  database: Prisma.TransactionClient,
  keys: DerivedKeys,
  { id, email }: { id: string; email: string },
): Promise<void> {
  const digests = keys.digests('guessing', spellingsOf(email)[0]).map((digest) => digest.toString('base64url'))
  await database.passwordFailures.deleteMany({ where: { person: { in: [id, ...digests] } } })
}

/**
 * Deletes what nothing depends on any more: failures for addresses without an account, which count only so that there is
 * no difference, after a day; and those by devices that can be known no longer.
 */
export async function forgetFailures(database: Database, most: number): Promise<void> {
  await database.$executeRaw`
    DELETE FROM auth.password_failures WHERE (person, device) IN (
      SELECT person, device FROM auth.password_failures
      WHERE last_at < now() - interval '1 day'
        AND (NOT has_account OR (device <> '' AND last_at < now() - interval '400 days'))
      LIMIT ${most} FOR UPDATE SKIP LOCKED)`
}
