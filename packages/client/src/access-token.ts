/** The claims of an access token of Sallyport (RFC 9068). */
export interface AccessTokenClaims {
  iss: string
  aud: string
  /** The user's id. */
  sub: string
  client_id: string
  /** Issued and expires, in seconds since 1970 by the server's clock. */
  iat: number
  exp: number
  jti: string
  /** The session's id. */
  sid: string
  email: string
  role: string
  roles: string[]
  /** When the user proved who they are, how well (`aal1`, `aal2`) and by what (RFC 8176). */
  auth_time?: number
  acr?: string
  amr?: string[]
  /** Who acts for the user (RFC 8693): a user, or `client:` and the id of a service account. */
  act?: ActorClaim
}

export interface ActorClaim {
  sub: string
  /** Whom that one acted for before. */
  act?: ActorClaim
}

/**
 * Reads the claims of an access token, for display. It checks no signature: only the gateway can say whether a token is
 * valid.
 *
 * @returns undefined for what is no such token
 */
export function readAccessToken(token: string): AccessTokenClaims | undefined {
  try {
    const payload = atob((token.split('.')[1] as string).replaceAll('-', '+').replaceAll('_', '/'))
    const bytes = Uint8Array.from(payload, (character) => character.charCodeAt(0))
    const claims = JSON.parse(new TextDecoder().decode(bytes))
    return Number.isFinite(claims.exp - claims.iat) && Array.isArray(claims.roles) ? claims : undefined
  } catch {
    return undefined
  }
}
