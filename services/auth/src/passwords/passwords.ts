import { randomBytes, randomInt } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { Problem } from '@sallyport/chassis'
import { argon2id, needsRehash } from 'argon2'
import limit from 'p-limit'
import type { Breached } from './breached.ts'
import { type HashingTask, startHashing } from './hashing.ts'
import { choose, type Share } from './mix.ts'
import { readStored, type StoredHash, withSalt } from './stored-hash.ts'

/** OWASP's argon2id parameters: 19 MiB, two passes, one lane. */
const parameters = { type: argon2id, memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const

/** How many hashes run at once: 76 MiB at most. More logins in a second come from more replicas. */
const concurrency = Math.min(4, availableParallelism())

/** How many more the process that hashes has in its own queue, so that no core waits for us to send the next one. */
const ahead = 2

/** Milliseconds that a login may be expected to wait in the queue, beyond which load is shed, and that it may wait in fact. */
const acceptableWait = 1_000
const longestWait = 2_000

/** Seconds after which rejected clients come again, not all at once. */
const returnWithin = 5

/**
 * What became of a comparison. `outdated`: right, and to be hashed anew, as its parameters or its spelling are not
 * today's. `unreadable`: what is stored is no hash that we would compare with.
 */
export type Verdict = 'right' | 'outdated' | 'wrong' | 'unreadable'

export type Weakness = 'guessable' | 'breached'

export interface Passwords {
  /**
   * Load shedding before anything of the request is read, which costs least. It reserves nothing.
   *
   * @throws 503 LOGIN_BUSY when work that comes now would wait in the queue for more than a second
   */
  requireCapacity(): void
  /**
   * Carries out work that checks or makes a password, unless load is shed. The look-up of the user belongs into the work, so
   * that a rejected client learns nothing.
   *
   * @throws 503 LOGIN_BUSY at once, as requireCapacity does
   */
  admit<Outcome>(work: () => Promise<Outcome>): Promise<Outcome>
  /**
   * Compares in constant time, and takes as long as it does for some user (mix.ts) for who does not exist, or whose hash
   * is none that we compare with. Two spellings of one password are one: it is compared in Unicode's form NFC, and where
   * it was typed in another, as it was typed, as it was hashed before.
   *
   * @param stored the hash kept for the user; undefined if there is no such user
   * @param whose what stands for the person, whether there is such a user or not; the time is always the same for one
   * @throws 503 LOGIN_BUSY if it waited too long after all, 503 UNAVAILABLE if hashing fails
   */
  verify(stored: string | undefined, password: string, whose: string): Promise<Verdict>
  /** Takes as long as verify does for a wrong password, and says nothing of it: it may be the right one. @throws as verify does */
  compareInVain(stored: string | undefined, password: string, whose: string): Promise<void>
  /** From now on nobody's passwords are compared in the shapes that the hashes of users have. */
  follow(shares: ReadonlyMap<string, Share>): void
  /** Of the password in NFC. @throws as verify does */
  hash(password: string): Promise<string>
  /**
   * Whether a new password is among the first that an attacker would try for this user (ASVS V6.2.4, V6.2.11) or has
   * the e-mail address in it, or is known from a data breach (V6.2.12).
   *
   * @throws 503 UNAVAILABLE if the process that hashes fails
   */
  weaknessOf(password: string, user: { email: string; name: string }): Promise<Weakness | undefined>
  /** How many passwords are being hashed or compared, and how many wait for it. */
  readonly running: number
  readonly waiting: number
  close(): Promise<void>
}

/** @param breached passwords that no new one may be; closed with the rest */
export async function createPasswords(breached?: Breached): Promise<Passwords> {
  const hashing = startHashing(concurrency)
  const queue = limit(concurrency + ahead)
  let admitted = 0
  /** Milliseconds that a hash takes, as the last few did; before that, a guess. */
  let usual = 50

  async function perform(task: HashingTask): Promise<string | boolean> {
    const came = performance.now()
    return queue(async () => {
      const began = performance.now()
      if (began - came > longestWait) throw busy()
      const { activeCount } = queue
      const result = await hashing.perform(task)
      // What stays there longer than one hash takes, stays longer by as many as are there at once (Little's law).
      const took = ((performance.now() - began) * concurrency) / Math.max(concurrency, activeCount)
      usual += (took - usual) / 8
      return result
    })
  }
  const hash = async (password: string) =>
    (await perform({ kind: 'hash', password: password.normalize('NFC'), parameters })) as string
  const ours = await hash(randomBytes(32).toString('base64'))
  let shares: ReadonlyMap<string, Share> = new Map()
  /**
   * A hash of no password that takes as long as the stored one, or as one that some user has. Never the same: argon2id
   * takes some microseconds more or less by the salt, and users have one each.
   */
  function likenessOf(stored: string | undefined, whose: string): string {
    const like = stored !== undefined && readStored(stored) ? stored : choose(shares, whose)
    return withSalt(like ?? ours, makeSalt)
  }
  const compare = async (password: string, stored: string) =>
    (await perform({ kind: 'verify', password, stored })) === true
  async function compareInVain(stored: string | undefined, password: string, whose: string): Promise<void> {
    const normal = password.normalize('NFC')
    await compare(normal, likenessOf(stored, whose))
    if (normal !== password) await compare(password, likenessOf(stored, whose))
  }

  function requireCapacity() {
    const ahead = Math.max(0, admitted + 1 - concurrency)
    if ((ahead * usual) / concurrency > acceptableWait) throw busy()
  }

  return {
    requireCapacity,
    async admit(work) {
      requireCapacity()
      admitted += 1
      try {
        return await work()
      } finally {
        admitted -= 1
      }
    },
    async verify(stored, password, whose) {
      const hash = stored === undefined ? undefined : readStored(stored)
      if (stored === undefined || !hash) {
        await compareInVain(stored, password, whose)
        return stored === undefined ? 'wrong' : 'unreadable'
      }
      const normal = password.normalize('NFC')
      if (await compare(normal, stored)) return isOurs(hash) ? 'right' : 'outdated'
      return normal !== password && (await compare(password, stored)) ? 'outdated' : 'wrong'
    },
    compareInVain,
    follow(now) {
      shares = now
    },
    hash,
    async weaknessOf(typed, { email, name }) {
      const password = typed.normalize('NFC')
      const words = [email, name, ...`${email} ${name}`.split(/[^\p{L}\p{N}]+/u), 'sallyport']
      if (password.toLowerCase().includes(email.toLowerCase())) return 'guessable'
      // It waits in no queue of hashes, and its time is none that a hash takes.
      if ((await hashing.perform({ kind: 'judge', password, words })) === true) return 'guessable'
      return (await breached?.has(password)) ? 'breached' : undefined
    },
    get running() {
      return Math.min(concurrency, queue.activeCount)
    },
    get waiting() {
      return queue.pendingCount + Math.max(0, queue.activeCount - concurrency)
    },
    async close() {
      await Promise.all([hashing.close(), breached?.close()])
    },
  }
}

const isOurs = (hash: StoredHash) => hash.kind === 'argon2' && !needsRehash(hash.text, parameters)

/** Of letters and digits, which every form has in its alphabet. */
const makeSalt = (length: number) => Array.from({ length }, () => saltAlphabet[randomInt(saltAlphabet.length)]).join('')

const saltAlphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'

/** Made once, since an error takes longer to make than to send, and shedding load should cost little. */
const busyProblems = Array.from(
  { length: returnWithin },
  (_, index) =>
    new Problem(503, 'LOGIN_BUSY', 'Too many people are signing in just now', {
      headers: { 'retry-after': String(index + 1) },
    }),
)

/** 503 LOGIN_BUSY */
export const busy = () => busyProblems[randomInt(returnWithin)] as Problem
