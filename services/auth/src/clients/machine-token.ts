import { clientSubject } from '@sallyport/identity'
import type { AccessTokens, IssuedToken } from '../tokens/access.ts'
import type { AuthenticatedClient } from './authenticate.ts'

/** An access token with which a service account calls as itself (RFC 9068). It ends with the credential, if that ends. */
export function issueMachineToken(
  accessTokens: AccessTokens,
  client: AuthenticatedClient,
  { scopes, audiences }: { scopes: string[]; audiences: string[] },
): IssuedToken {
  const { id: clientId, roles, credentialId: sessionId, credentialEndsAt: endsBy } = client
  const [role] = roles
  const identity = {
    ...({ caller: 'client', userId: clientSubject(clientId), clientId, roles, sessionId, scopes } as const),
    ...(role !== undefined && { role }),
  }
  return accessTokens.issue({ identity, clientId, audiences, endsBy })
}
