import { unwatchFile, watchFile } from 'node:fs'
import type { Logger } from '@sallyport/chassis'
import type { Config } from '../config.ts'
import { createTokens, type Tokens } from './tokens.ts'

export interface LiveTokens extends Tokens {
  /** Reads the keys again. */
  reload(): void
  close(): void
}

type Keys = Pick<Config, 'accessToken' | 'refreshSecrets' | 'keyFiles'>

/**
 * Tokens by the keys of the moment: keys are read again when one of their files changes, and the new ones take over
 * all at once, between two requests. Keys that do not hold up leave the ones at hand in use, and the log says why.
 *
 * @throws ConfigurationError when the keys do not hold up at start
 */
export async function openTokens(readKeys: () => Keys, logger: Logger): Promise<LiveTokens> {
  const { keyFiles, ...keys } = readKeys()
  let current = await createTokens(keys)
  let loading = Promise.resolve()

  async function load(): Promise<void> {
    try {
      const keys = readKeys()
      current = await createTokens(keys)
      const kids = current.keySet.keys.map(({ kid }) => kid)
      logger.info({ event: 'keys_reloaded', kids, refreshSecrets: keys.refreshSecrets.length })
    } catch (error) {
      logger.error({ event: 'keys_refused', err: error }, 'the keys do not hold up; those at hand stay in use')
    }
  }
  // One after the other, so that what was read last is what stays.
  const reload = () => {
    loading = loading.then(load)
  }
  for (const file of keyFiles) watchFile(file, { interval: 1_000, persistent: false }, reload)

  return {
    signAccess: (session) => current.signAccess(session),
    signRefresh: (session) => current.signRefresh(session),
    readRefresh: (token) => current.readRefresh(token),
    get keySet() {
      return current.keySet
    },
    reload,
    close() {
      for (const file of keyFiles) unwatchFile(file, reload)
    },
  }
}
