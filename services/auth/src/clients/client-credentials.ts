import type { AccessTokens } from '../tokens/access.ts'
import type { AuthenticatedClient } from './authenticate.ts'
import type { Form } from './form.ts'
import { issueMachineToken } from './machine-token.ts'
import { narrowScopes, targetsOf } from './narrow.ts'
import type { TokenResponse } from './token-response.ts'

/** The grant `client_credentials` (RFC 6749 section 4.4): a service account gets a token for itself. */
export function grantClientCredentials(
  client: AuthenticatedClient,
  form: Form,
  accessTokens: AccessTokens,
): TokenResponse {
  const scopes = narrowScopes(form, client.scopes)
  const targets = targetsOf(form, client.audiences)
  const audiences = targets.length > 0 ? targets : client.audiences
  const { token, expiresIn } = issueMachineToken(accessTokens, client, { scopes, audiences })
  return { access_token: token, token_type: 'Bearer', expires_in: expiresIn, scope: scopes.join(' ') }
}
