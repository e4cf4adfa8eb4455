import { randomBytes } from 'node:crypto'
import { argon2id, hash, needsRehash, verify } from 'argon2'
import limit from 'p-limit'

/** OWASP's argon2id parameters: 19 MiB, two passes, one lane. */
const parameters = { type: argon2id, memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const

/** libuv's pool has four threads, which file and DNS calls share: hashing takes two of them at most. */
const atOnce = 2

export interface Passwords {
  /**
   * Compares in constant time, and takes as long for a person who does not exist.
   *
   * @param stored the hash kept for the person; undefined if there is no such person
   */
  verify(stored: string | undefined, password: string): Promise<boolean>
  hash(password: string): Promise<string>
  /** Whether a stored hash was made with weaker parameters than today's. */
  isOutdated(stored: string): boolean
  /** How many passwords are being hashed or compared, and how many wait for it. */
  readonly running: number
  readonly waiting: number
}

export async function createPasswords(): Promise<Passwords> {
  const turn = limit(atOnce)
  const nobody = await hash(randomBytes(32), parameters)
  return {
    async verify(stored, password) {
      const matches = await turn(() => verify(stored ?? nobody, password))
      return stored !== undefined && matches
    },
    hash: (password) => turn(() => hash(password, parameters)),
    isOutdated: (stored) => needsRehash(stored, parameters),
    get running() {
      return turn.activeCount
    },
    get waiting() {
      return turn.pendingCount
    },
  }
}
