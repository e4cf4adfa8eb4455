import type { FastifyRequest } from 'fastify'
import type { SecurityEvent } from '../events/security-events.ts'
import { refreshes } from './metrics.ts'
import type { RotationOutcome, RotationRequest } from './rotate.ts'

/** A refresh that was decided on. */
export interface Refresh {
  presented: RotationRequest
  outcome: RotationOutcome
}

/** How a refresh is counted that is rejected before it reaches a session; any other error is an outage. */
const refusals: Record<string, string> = {
  REFRESH_MISSING: 'missing',
  REFRESH_INVALID: 'invalid',
  REFRESH_EXPIRED: 'expired',
}

/** Counts and logs what becomes of a refresh, and leaves it as it is. */
export async function observeRefresh(request: FastifyRequest, refreshing: Promise<Refresh>): Promise<Refresh> {
  const refresh = await refreshing.catch((error: { code: string }) => {
    const outcome = refusals[error.code] ?? 'unavailable'
    refreshes.inc({ outcome })
    if (outcome === 'invalid' || outcome === 'expired')
      request.log.warn({ event: 'refresh_refused', code: error.code, ip: request.ip })
    throw error
  })
  const { presented, outcome } = refresh
  if (outcome.kind === 'replayed' || outcome.kind === 'ended') {
    refreshes.inc({ outcome: outcome.kind === 'replayed' ? 'reused' : 'ended' })
    return refresh
  }
  const who = clientOf(presented, request)
  const forgotten = outcome.kind === 'rotated' ? outcome.forgotten : 0
  refreshes.inc({ outcome: forgotten > 0 ? 'fast_forwarded' : outcome.kind })
  if (forgotten > 0) request.log.error({ event: 'refresh_fast_forward', forgotten, ...who })
  // Most lines of a day would say that an open page goes on: that is a figure, and no line unless somebody looks for it.
  const level = outcome.kind === 'rotated' ? 'debug' : 'info'
  request.log[level]({ event: `refresh_${outcome.kind}`, generation: outcome.session.generation, ...who })
  return refresh
}

/** The security event of a refresh token that was used before. */
export function reuseOf(presented: RotationRequest, request: FastifyRequest): SecurityEvent {
  return { event: 'refresh_reused', reason: `generation ${presented.generation}`, ...clientOf(presented, request) }
}

function clientOf({ userId, sessionId }: RotationRequest, { ip, headers }: FastifyRequest) {
  return { user: userId, session: sessionId, ip, userAgent: headers['user-agent']?.slice(0, 512) }
}
