import { timingSafeEqual } from 'node:crypto'
import { type Application, Problem } from '@sallyport/chassis'
import type { Database, Statement } from '@sallyport/database'
import { apiKeyId } from '@sallyport/identity'
import Type from 'typebox'
import type { Config } from '../config.ts'
import { requireGateway } from '../sessions/revocation-stream.ts'
import type { AccessTokens } from '../tokens/access.ts'
import { hasEnded, noteUse } from './authenticate.ts'
import { hashSecret } from './credentials.ts'
import { issueMachineToken } from './machine-token.ts'

interface Found {
  id: string
  roles: string[]
  scopes: string[]
  audiences: string[]
  /** In hexadecimal. */
  hash: string
  endsAt: number | null
  isUnnoted: boolean
}

const findApiKey: Statement = {
  name: 'find_api_key',
  text: `
    SELECT c.id, c.roles, c.scopes, c.audiences, encode(k.secret_hash, 'hex') AS hash,
           floor(extract(epoch FROM k.expires_at))::float8 AS "endsAt",
           k.last_used_at IS NULL OR k.last_used_at < now() - interval '1 minute' AS "isUnnoted"
    FROM auth.client_credentials k JOIN auth.clients c ON c.id = k.client_id
    WHERE k.id = $1 AND k.kind = 'api_key' AND (k.expires_at IS NULL OR k.expires_at > now())`,
}

const schema = { hide: true, body: Type.Object({ key: Type.String({ maxLength: 256 }) }) }

interface Dependencies {
  config: Config
  database: Database
  accessTokens: AccessTokens
}

/**
 * Where gateways have an API key exchanged for an access token of its service account, which they then go by until it
 * ends. For gateways alone, like the revocation stream.
 */
export function apiKeyRoute(app: Application, { config, database, accessTokens }: Dependencies): void {
  const onRequest = requireGateway(config.revocationsSecrets)

  app.post('/internal/api-keys', { schema, onRequest }, async ({ body: { key } }) => {
    const id = apiKeyId(key)
    const [found] = id === undefined ? [] : await database.run<Found>(findApiKey, [id])
    const isKey = found && !hasEnded(found) && timingSafeEqual(Buffer.from(found.hash, 'hex'), hashSecret(key))
    if (!id || !isKey) throw new Problem(401, 'API_KEY_INVALID', 'There is no such API key')
    if (found.isUnnoted) await database.run(noteUse, [id])
    const { scopes, audiences, endsAt } = found
    const client = { ...found, credentialId: id, credentialEndsAt: endsAt ?? undefined }
    return { accessToken: issueMachineToken(accessTokens, client, { scopes, audiences }).token }
  })
}
