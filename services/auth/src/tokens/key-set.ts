import { type Logger, openReloadable, type Reloadable } from '@sallyport/chassis'
import { createSigner, type PublicKey, publicJwk, toPublicKey } from '@sallyport/identity'
import type { Config } from '../config.ts'

/** Keys, of which the first of each kind signs or seals and all are accepted: so one is replaced without ending a session. */
export interface KeySet {
  /** Signs the claims of an access token with the active key. */
  signAccess: (claims: object) => string
  /** The public keys for access tokens, as a JWK Set (RFC 7517). */
  jwks: { keys: { kid: string }[] }
  /** The same by their ids, to verify with. */
  accessKeys: ReadonlyMap<string, PublicKey>
  refreshSecrets: [string, ...string[]]
  /** They seal the secrets of authenticator apps. */
  factorKeys: [string, ...string[]]
}

export function createKeySet({
  accessToken,
  refreshSecrets,
  factorKeys,
}: Pick<Config, 'accessToken' | 'refreshSecrets' | 'factorKeys'>): KeySet {
  const keys = accessToken.privateKeys.map(publicJwk)
  return {
    signAccess: createSigner(accessToken.privateKeys[0], 'at+jwt'),
    jwks: { keys },
    accessKeys: new Map(keys.map((key) => [key.kid, toPublicKey(key) as PublicKey])),
    refreshSecrets,
    factorKeys,
  }
}

/**
 * The keys of the moment: they are read again when one of their files changes, and the new ones take over between two
 * requests. Invalid ones leave those in use, and the log says why.
 *
 * @throws ConfigurationError when the keys are invalid at start
 */
export function openKeySet(readConfig: () => Config, logger: Logger): Reloadable<KeySet> {
  return openReloadable(readConfig().keyFiles, () => createKeySet(readConfig()), {
    onReload({ jwks, refreshSecrets, factorKeys }) {
      const kids = jwks.keys.map(({ kid }) => kid)
      logger.info({
        event: 'keys_reloaded',
        kids,
        refreshSecrets: refreshSecrets.length,
        factorKeys: factorKeys.length,
      })
    },
    onRefuse: (err) => logger.error({ event: 'keys_refused', err }, 'the keys are invalid; those in use stay in use'),
  })
}
