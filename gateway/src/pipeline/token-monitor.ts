import { isStillValid, type Revocations } from '@sallyport/verify'
import type { Caller } from './access-token.ts'
import type { Issuers } from './issuers.ts'

/** Why a token is no longer valid. */
export type InvalidReason = 'token expired' | 'session ended' | 'roles changed' | 'key withdrawn'

/** The longest that a timer can be set for, in milliseconds; what would last longer ends then. */
const longestTimer = 2 ** 31 - 1

export interface TokenMonitor {
  /**
   * Calls `end` once the caller's token is invalid: it expires, what it belongs to ends, the roles in it change, or its key
   * is withdrawn, by itself or with its issuer.
   *
   * @returns how to stop monitoring it
   */
  onInvalid(caller: Caller, end: (reason: InvalidReason) => void): () => void
}

/** Monitors the tokens of what outlives their check: WebSockets and event streams. */
export function createTokenMonitor(revocations: Revocations, issuers: Pick<Issuers, 'onChange'>): TokenMonitor {
  const monitored = new Set<{ caller: Caller; end: (reason: InvalidReason) => void }>()
  revocations.onRevoked((revoked) => {
    for (const { caller, end } of monitored) {
      if ('session' in revoked && caller.belongsTo.includes(revoked.session)) end('session ended')
      if ('user' in revoked && revoked.user === caller.identity.userId && revocations.isStale(caller))
        end('roles changed')
    }
  })
  issuers.onChange(() => {
    for (const { caller, end } of monitored) if (!isStillValid(caller)) end('key withdrawn')
  })
  /** What has happened since the token was checked: what opens may have taken long to. */
  function lately(caller: Caller): InvalidReason | undefined {
    if (revocations.hasEnded(caller)) return 'session ended'
    if (revocations.isStale(caller)) return 'roles changed'
    return isStillValid(caller) ? undefined : 'key withdrawn'
  }
  return {
    onInvalid(caller, end) {
      const entry = { caller, end }
      monitored.add(entry)
      const left = caller.expiresAt * 1000 - Date.now()
      const reason = left > 0 ? lately(caller) : undefined
      const expiry = setTimeout(() => end(reason ?? 'token expired'), reason ? 0 : Math.min(left, longestTimer))
      return () => {
        clearTimeout(expiry)
        monitored.delete(entry)
      }
    },
  }
}
