/**
 * Thrown where no token can be had. No message holds a secret, an assertion or a token, nor what the endpoint says in its
 * own words, since that may repeat them.
 */
export class ServiceClientError extends Error {
  override name = 'ServiceClientError'
  /**
   * The error of RFC 6749 section 5.2 or RFC 8693 section 2.2.2 by which the endpoint refused, such as `invalid_client`,
   * `invalid_grant`, `invalid_scope` or `invalid_target`. Or `unreachable`: nothing that speaks OAuth answered, or not in
   * time, or it said that it cannot serve just now.
   */
  readonly code: string

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
