import { type Application, unavailable } from '@sallyport/chassis'
import type { Database } from '@sallyport/database'
import type { Config } from '../config.ts'
import { record } from '../events/security-events.ts'
import type { AccessTokens } from '../tokens/access.ts'
import type { KeySet } from '../tokens/key-set.ts'
import { createAuthenticateClient } from './authenticate.ts'
import { acceptForms } from './form.ts'
import { introspectRoute } from './introspect.ts'
import { type OAuthError, respondWithOAuthError } from './oauth-error.ts'
import type { RemoteJwks } from './remote-jwks.ts'
import { revokeRoute } from './revoke.ts'
import { createTokenReader } from './subject-token.ts'
import { tokenRoute } from './token.ts'
import { createTokenExchange } from './token-exchange.ts'

interface Dependencies {
  config: Config
  database: Database
  accessTokens: AccessTokens
  keys: { readonly current: KeySet }
  remoteJwks: RemoteJwks
  isOutage: (error: unknown) => boolean
}

/** The endpoints of OAuth: forms in, JSON out, and errors as RFC 6749 has them instead of problem details. */
export async function oauthRoutes(app: Application, dependencies: Dependencies): Promise<void> {
  const { config, database, accessTokens, keys, remoteJwks, isOutage } = dependencies
  const authenticate = createAuthenticateClient({ config, database, remoteJwks })
  const tokens = createTokenReader(config, database, keys)
  const apiAudience = config.accessToken.audience
  const exchange = createTokenExchange({ database, accessTokens, tokens, apiAudience })

  await app.register(async (scope) => {
    const oauth = scope as unknown as Application
    acceptForms(oauth)
    oauth.addHook('onRequest', async (_request, reply) => {
      // RFC 6749 section 5.1; cache-control is there for every response.
      reply.header('pragma', 'no-cache')
    })
    oauth.setErrorHandler(async (error, request, reply) => {
      const { client } = error as Partial<OAuthError>
      if (client !== undefined)
        await record(database, request.log, { event: 'client_refused', client, ip: request.ip }).catch(() => {})
      return respondWithOAuthError(isOutage(error) ? unavailable(error) : error, request, reply)
    })
    tokenRoute(oauth, { config, accessTokens, authenticate, exchange })
    introspectRoute(oauth, { config, authenticate, tokens })
    revokeRoute(oauth, { config, database, authenticate, tokens })
  })
}
