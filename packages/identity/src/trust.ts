import { type Identity, identityFromHeaders, identityHeaders } from '@sallyport/verify'
import { createAssertionVerifier } from './assertion.ts'
import { Refusal } from './refusal.ts'

/**
 * What a service believes, which every guard must be told. `verify: true`: the signed assertion, checked with the
 * gateway's public keys. `verify: false`: the identity headers as they are, which is safe only where nothing but the
 * gateway can reach the service. A key that is undefined, as a variable which is not set, is an error at once.
 */
export type Trust = { verify: true; publicKeys: readonly (string | undefined)[]; audience: string } | { verify: false }

/** The headers of a request by their names in lower case, as Node has them. */
export type Headers = Readonly<Record<string, string | string[] | undefined>>

/**
 * Makes what reads from a request's headers who is calling.
 *
 * @returns undefined where nobody is
 * @throws 401 TOKEN_INVALID for an assertion that is invalid; at once, without a trust that can be kept
 */
export function identityReader(trust: Trust): (headers: Headers) => Identity | undefined {
  if (trust?.verify === false) return identityFromHeaders
  if (trust?.verify !== true)
    throw new TypeError(
      'A guard must be told whom it trusts: { verify: true, publicKeys, audience } for the assertion that the gateway ' +
        'signs, or { verify: false } for plain headers, where nothing but the gateway can reach this service',
    )
  const verify = createAssertionVerifier(trust.publicKeys, trust.audience)
  return (headers) => {
    const token = headers[identityHeaders.assertion]
    if (token === undefined) return undefined
    const identity = typeof token === 'string' ? verify(token) : undefined
    if (!identity) throw new Refusal(401, 'TOKEN_INVALID', 'The identity assertion is invalid')
    return identity
  }
}
