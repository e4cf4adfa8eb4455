import { Problem } from '@sallyport/chassis'
import type { Identity } from '@sallyport/identity'

/** The levels at which a route can want its caller, ascending (NIST SP 800-63B): what `acr` says of a token. */
export const levels = ['aal1', 'aal2'] as const

/** How well, and how lately, a caller must have proved who they are. */
export interface StepUp {
  level: number
  maxAge: number
  /** The response to everybody else, the same for all. */
  required: Problem
}

/**
 * @param acr the least level; undefined for any, known or not
 * @param maxAge how many seconds ago it may have been; undefined for any time, known or not
 */
export function createStepUp(acr: (typeof levels)[number] | undefined, maxAge: number | undefined): StepUp {
  const challenge = [
    'Bearer error="insufficient_user_authentication"',
    ...(acr === undefined ? [] : [`acr_values="${acr}"`]),
    ...(maxAge === undefined ? [] : [`max_age="${maxAge}"`]),
  ]
  return {
    level: levelOf(acr),
    maxAge: maxAge ?? Number.POSITIVE_INFINITY,
    // RFC 9470 section 3.
    required: new Problem(401, 'STEP_UP_REQUIRED', 'Confirm who you are first', {
      detail: 'Step up with `POST /api/auth/step-up`, and make the call again. A refresh does not help.',
      headers: { 'www-authenticate': challenge.join(', ') },
      members: { ...(acr !== undefined && { acr }), ...(maxAge !== undefined && { maxAge }) },
    }),
  }
}

/** By the clock of the gateway. What is not known of a caller is below every level, and longer ago than any age. */
export function isMet({ level, maxAge }: StepUp, { acr, authTime = Number.NEGATIVE_INFINITY }: Identity): boolean {
  return levelOf(acr) >= level && Date.now() / 1000 - authTime <= maxAge
}

/** -1 for a level that we do not know, and for none. */
const levelOf = (acr: string | undefined): number => (levels as readonly (string | undefined)[]).indexOf(acr)
