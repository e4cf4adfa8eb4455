import type { Caller } from './access-token.ts'
import type { Revocations } from './revocations.ts'

/** Why a token is no longer valid. */
export type InvalidReason = 'token expired' | 'session ended' | 'roles changed'

/** The longest that a timer can be set for, in milliseconds; what would last longer ends then. */
const longestTimer = 2 ** 31 - 1

export interface TokenMonitor {
  /**
   * Calls `end` once the caller's token is invalid: it expires, its session ends, or the roles in it change.
   *
   * @returns how to stop monitoring it
   */
  onInvalid(caller: Caller, end: (reason: InvalidReason) => void): () => void
}

/** Monitors the tokens of what outlives their check: WebSockets and event streams. */
export function createTokenMonitor(revocations: Revocations): TokenMonitor {
  const monitored = new Set<{ caller: Caller; end: (reason: InvalidReason) => void }>()
  revocations.onRevoked((revoked) => {
    for (const { caller, end } of monitored) {
      if ('session' in revoked && revoked.session === caller.identity.sessionId) end('session ended')
      if ('user' in revoked && revoked.user === caller.identity.userId) end('roles changed')
    }
  })
  return {
    onInvalid(caller, end) {
      const entry = { caller, end }
      monitored.add(entry)
      const expiry = setTimeout(
        () => end('token expired'),
        Math.min(caller.expiresAt * 1000 - Date.now(), longestTimer),
      )
      return () => {
        clearTimeout(expiry)
        monitored.delete(entry)
      }
    },
  }
}
