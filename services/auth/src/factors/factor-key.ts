import { createHash, hkdfSync } from 'node:crypto'
import type { KeySet } from '../tokens/key-set.ts'
import { open, seal } from '../tokens/sealing.ts'

/** What the secrets of authenticator apps are sealed with (AES-256-GCM, by keys derived from FACTOR_KEY). */
export interface FactorKey {
  /** They name the keys in the database, and say nothing of them. The active one comes first. */
  readonly ids: [string, ...string[]]
  /** @param about whose it is: sealed for one user, it opens for no other */
  seal(text: string, about: string): string
  /** @returns undefined for what was sealed with none of the keys, or for somebody else */
  open(sealed: string, about: string): string | undefined
}

/** @param keys the keys of the moment */
export function createFactorKey(keys: { readonly current: Pick<KeySet, 'factorKeys'> }): FactorKey {
  const derive = (secret: string) => Buffer.from(hkdfSync('sha256', secret, '', 'sallyport factors', 32))
  const all = () => keys.current.factorKeys.map(derive) as [Buffer, ...Buffer[]]
  return {
    get ids() {
      return all().map(idOf) as [string, ...string[]]
    },
    seal: (text, about) => seal(all()[0], text, about),
    open: (sealed, about) => open(all(), sealed, about),
  }
}

const idOf = (key: Buffer) => createHash('sha256').update(key).digest('base64url').slice(0, 11)
