import type { Caller } from './access-token.ts'
import type { Revocations } from './revocations.ts'

/** Why a connection may not go on. */
export type InvalidReason = 'token expired' | 'session ended' | 'roles changed'

/** The longest that a timer can be set for, in milliseconds; what would last longer ends then. */
const longestTimer = 2 ** 31 - 1

export interface TokenMonitor {
  /**
   * Calls `end` once the caller's token no longer holds: it expires, its session ends, or the roles in it change.
   *
   * @returns how to stop watching
   */
  onInvalid(caller: Caller, end: (reason: InvalidReason) => void): () => void
}

/** Watches over what outlives the check of its token: WebSockets and event streams. */
export function createTokenMonitor(revocations: Revocations): TokenMonitor {
  const watched = new Set<{ caller: Caller; end: (reason: InvalidReason) => void }>()
  revocations.onRevoked((revoked) => {
    for (const { caller, end } of watched) {
      if ('session' in revoked && revoked.session === caller.identity.sessionId) end('session ended')
      if ('user' in revoked && revoked.user === caller.identity.userId) end('roles changed')
    }
  })
  return {
    onInvalid(caller, end) {
      const entry = { caller, end }
      watched.add(entry)
      const expiry = setTimeout(
        () => end('token expired'),
        Math.min(caller.expiresAt * 1000 - Date.now(), longestTimer),
      )
      return () => {
        clearTimeout(expiry)
        watched.delete(entry)
      }
    },
  }
}
