import { createHmac, hkdfSync } from 'node:crypto'
import type { KeySet } from './key-set.ts'
import { open, seal } from './sealing.ts'

/** What a secret of refresh tokens is also good for, each with a key of its own (HKDF, RFC 5869). */
type Use = 'mail' | 'codes' | 'guessing' | 'devices' | 'challenges'

type Keys = [Buffer, ...Buffer[]]

export interface DerivedKeys {
  /** Encrypts a text for the queue of mails, so that nobody who reads the database has what is in it. */
  seal(text: string): string
  /**
   * @returns undefined for what was not sealed with one of our secrets
   */
  open(sealed: string): string | undefined
  /**
   * HMAC-SHA-256 of a text, for values that a database is searched by and that few enough are possible of to try them all.
   *
   * @returns that of the active secret first, then those of the others
   */
  digests(use: Exclude<Use, 'mail' | 'challenges'>, text: string): [Buffer, ...Buffer[]]
  /** The keys of the tokens that finish what a request has begun (factors/challenges.ts), the active one first. */
  readonly challengeKeys: Keys
}

/** @param keys the keys of the moment */
export function createDerivedKeys(keys: { readonly current: Pick<KeySet, 'refreshSecrets'> }): DerivedKeys {
  const derived = new Map<string, Buffer>()

  function derive(secret: string, use: Use): Buffer {
    const name = `${use} ${secret}`
    const key = derived.get(name) ?? Buffer.from(hkdfSync('sha256', secret, '', `sallyport ${use}`, 32))
    derived.set(name, key)
    return key
  }
  const all = (use: Use) => keys.current.refreshSecrets.map((secret) => derive(secret, use)) as Keys

  return {
    seal: (text) => seal(all('mail')[0], text),
    open: (sealed) => open(all('mail'), sealed),
    digests: (use, text) => all(use).map((key) => createHmac('sha256', key).update(text).digest()) as Keys,
    get challengeKeys() {
      return all('challenges')
    },
  }
}
