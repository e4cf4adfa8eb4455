import { clientIdOf, type Identity, identityFrom } from './identity.ts'

/** The claims of a token that say who an identity is; what is not known is left out by JSON. */
export const claimsOf = ({ issuer, userId, clientId, sessionId, scopes, authTime, ...same }: Identity) => ({
  ...same,
  token_iss: issuer,
  sub: userId,
  client_id: clientId,
  sid: sessionId === '' ? undefined : sessionId,
  scope: scopes?.join(' '),
  auth_time: authTime,
})

/**
 * The identity in the claims of an access token of Sallyport (RFC 9068, RFC 8693) or an assertion of the gateway. Whether
 * it is a user or a service account is in its subject, so that no other claim can say something else.
 *
 * @returns undefined as `identityFrom` does. It does not check who signed the claims, nor for whom and until when.
 */
export function identityFromClaims(claims: Record<string, unknown>): Identity | undefined {
  const { token_iss: issuer, sub, sid, email, role, roles, scope, act, acr, auth_time, amr } = claims
  const clientId = typeof sub === 'string' ? clientIdOf(sub) : undefined
  return identityFrom({
    caller: clientId === undefined ? 'user' : 'client',
    issuer,
    userId: sub,
    clientId,
    sessionId: sid,
    ...{ email, role, roles, act, acr, amr },
    scopes: scopesFrom(scope),
    authTime: auth_time,
  })
}

/**
 * The scopes in a claim or parameter `scope`, parted by single spaces (RFC 8693 section 4.2). What is no text stays as it is,
 * for whoever checks it.
 */
export const scopesFrom = (scope: unknown): unknown =>
  typeof scope !== 'string' ? scope : scope === '' ? [] : scope.split(' ')
