/**
 * What ends tokens before they expire: what they belong to has ended, or these are the roles of their subject now.
 *
 * For changed roles it says which roles the subject has now, and not from when on older tokens are stale: a token is stale
 * if it says something else. No clock and no order of commits can then let one slip through.
 */
export type Revocation =
  /**
   * A session; or whatever else a token belongs to and ends with: the credential of a service account, the registration
   * by which it acts for others, or the token itself, by its `jti`.
   */
  | { session: string; reason: string }
  /** A user's id, or of a service account its subject, with which it says also what its tokens may be for. */
  | { user: string; roles: string[]; scopes?: string[]; audiences?: string[] }

/**
 * The server-sent events of `/internal/revocations`, from the auth service to its gateways: their names and their data,
 * which is JSON. First one `revoked` for every revocation that can still concern a token, then `current`, then each
 * `revoked` as it happens, and `alive` whenever it is proved that none was missed.
 *
 * Times in `at` are seconds of the monotonic clock of the auth process, for comparison with each other alone. An auth
 * service of an earlier version sends no `holds`, no `at` and no `alive`.
 */
export interface RevocationEvents {
  /**
   * `holds` is for how many seconds from now a token that it concerns may still be taken as valid somewhere; `until` is the
   * same as a time in seconds since 1970, by the clock of the auth service.
   */
  revoked: Revocation & { holds?: number; until: number }
  /**
   * The account of this user was erased: what a service keeps about the user is to go too. It is for services, not for
   * gateways; one that connects is sent those of the last day, and the same user may be named twice.
   */
  erased: { user: string }
  /** Everything that was committed before `at` has been sent. */
  current: { at?: number }
  alive: { at: number }
}
