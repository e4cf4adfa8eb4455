import type { PublicKeyCredentialRequestOptionsJSON } from '@simplewebauthn/browser'

/** Which proofs there are, beside a password. `code` takes both kinds of code. */
export type Factor = 'totp' | 'passkey' | 'recovery_code'

/** What a call asks for, of a sign-in or a step-up (RFC 9470). */
export interface StepUpNeed {
  /** The level: `aal2` is a second factor or a passkey. */
  acr?: 'aal1' | 'aal2' | undefined
  /** How old the proof may be, in seconds. */
  maxAge?: number | undefined
}

/** The members of a problem (RFC 9457) beside its code, as far as the server's has them. */
export interface Problem extends StepUpNeed {
  /** With `SECOND_FACTOR_REQUIRED`: what the second factor is presented with, for 5 minutes. */
  challenge?: string
  methods?: Factor[]
  /** For a passkey, if it is one of the methods. */
  options?: PublicKeyCredentialRequestOptionsJSON
}

interface Details {
  status?: number | undefined
  reason?: string | undefined
  detail?: string | undefined
  /** In milliseconds. */
  retryAfter?: number | undefined
  problem?: Problem
  cause?: unknown
}

/**
 * A call that did not do what it should. `code` is one of the server's (docs/api.md), or one of ours:
 *
 * - `NETWORK`: there was no response in time
 * - `ANSWER_INVALID`: there was a response, and it is not the auth service's (a captive portal, a proxy's error page)
 * - `SIGNED_OUT`: the call needs a user who is signed in
 * - `BODY_NOT_REPEATABLE`: the request was rejected for its token, which has been replaced, and its body is a stream
 *   that cannot be sent a second time
 * - `BASE_URL_RELATIVE`: the client was made with a relative `baseUrl`, and there is no page (on a server)
 */
export class AuthError extends Error {
  override readonly name = 'AuthError'
  readonly code: string
  /** The HTTP status; 0 if there was no response. */
  readonly status: number
  /** Why a session ended, with `SESSION_ENDED`. */
  readonly reason: string | undefined
  readonly detail: string | undefined
  /** How long the server asks to wait, in milliseconds. */
  readonly retryAfter: number | undefined
  /** What a second factor or a step-up needs; empty if there was no response. */
  readonly problem: Problem

  constructor(
    code: string,
    message: string,
    { status = 0, reason, detail, retryAfter, problem = {}, cause }: Details = {},
  ) {
    super(message, { cause })
    this.code = code
    this.status = status
    this.reason = reason
    this.detail = detail
    this.retryAfter = retryAfter
    this.problem = problem
  }
}

/** The error that a response stands for. */
export async function errorOf(response: Response): Promise<AuthError> {
  const { status } = response
  const problem = await response.json().catch(() => undefined)
  const seconds = Number(response.headers.get('retry-after') || Number.NaN)
  const retryAfter = seconds >= 0 ? seconds * 1_000 : undefined
  if (typeof problem?.code !== 'string')
    return new AuthError('ANSWER_INVALID', `The response ${status} is not the auth service's`, { status, retryAfter })
  const { code, title, reason, detail } = problem
  return new AuthError(code, title, { status, reason, detail, retryAfter, problem })
}

/** The JSON of a response. @throws AuthError that it stands for */
export async function contentOf(response: Response) {
  if (!response.ok) throw await errorOf(response)
  return response.json()
}

/** What fails between a request and its content is an AuthError. */
export function fail(cause: unknown): never {
  if (cause instanceof AuthError) throw cause
  if (cause instanceof SyntaxError) throw new AuthError('ANSWER_INVALID', 'The response is not JSON', { cause })
  throw new AuthError('NETWORK', 'The server did not respond', { cause })
}
