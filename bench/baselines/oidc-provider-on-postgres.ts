import { hash, verify } from 'argon2'
// @ts-expect-error: it comes without types
import Provider, { errors } from 'oidc-provider'
import pg from 'pg'
import { createPostgresAdapter } from './oidc-provider-adapter.ts'

/**
 * oidc-provider with users, refresh tokens that rotate and PostgreSQL below. It has no passwords of its own, so they come
 * in by a grant as its manual registers one; access tokens are JWTs that it keeps nowhere, or opaque for an audience of
 * that name.
 */
const { ISSUER, AUDIENCE, PRIVATE_KEY, DATABASE_URL, CLIENT, USERS, PASSWORD, PORT } = process.env as Record<
  string,
  string
>

const pool = new pg.Pool({ connectionString: DATABASE_URL as string, max: 10 })
const Adapter = await createPostgresAdapter(pool)
await pool.query(
  'CREATE TABLE users (id text PRIMARY KEY, email text UNIQUE NOT NULL, name text NOT NULL, password_hash text NOT NULL)',
)
await pool.query(
  `INSERT INTO users SELECT gen_random_uuid(), 'user-' || number || '@example.com', 'Some Person', $2
   FROM generate_series(0, $1 - 1) number`,
  [Number(USERS), await hash(PASSWORD as string, { memoryCost: 19_456, timeCost: 2, parallelism: 1 })],
)
const findUser = async (column: 'id' | 'email', value: string) => {
  const text = `SELECT id, email, name, password_hash FROM users WHERE ${column} = $1`
  const { rows } = await pool.query({ name: `user by ${column}`, text, values: [value] })
  return rows[0]
}

const scope = 'api offline_access'
const resourceServerInfo = (audience: string) => ({
  scope: 'api',
  audience,
  accessTokenTTL: 900,
  ...(audience === AUDIENCE
    ? { accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } }
    : { accessTokenFormat: 'opaque' }),
})

const provider = new Provider(ISSUER, {
  adapter: Adapter,
  clients: [
    {
      ...JSON.parse(CLIENT as string),
      grant_types: ['password', 'refresh_token', 'client_credentials'],
      redirect_uris: [],
      response_types: [],
    },
  ],
  jwks: { keys: [JSON.parse(PRIVATE_KEY as string)] },
  clientDefaults: { id_token_signed_response_alg: 'ES256' },
  scopes: ['api', 'offline_access'],
  rotateRefreshToken: true,
  ttl: { AccessToken: 900, ClientCredentials: 900, RefreshToken: 604_800, Grant: 604_800 },
  async findAccount(_context: unknown, id: string) {
    const user = await findUser('id', id)
    return user && { accountId: id, claims: () => ({ sub: id, email: user.email }) }
  },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => AUDIENCE,
      useGrantedResource: () => true,
      getResourceServerInfo: (_context: unknown, audience: string) => resourceServerInfo(audience),
    },
  },
})

provider.registerGrantType(
  'password',
  // biome-ignore lint/suspicious/noExplicitAny: it comes without types
  async (context: any) => {
    const { client, params } = context.oidc
    const user = await findUser('email', params.username)
    if (!user || !(await verify(user.password_hash, params.password))) throw new errors.InvalidGrant('wrong password')
    const audience = params.resource ?? AUDIENCE
    const grant = new provider.Grant({ accountId: user.id, clientId: client.clientId })
    grant.addResourceScope(audience, 'api')
    const grantId = await grant.save()
    const shared = { accountId: user.id, client, grantId, gty: 'password', authTime: Math.floor(Date.now() / 1000) }
    const accessToken = new provider.AccessToken({ ...shared, scope: 'api' })
    accessToken.resourceServer = new provider.ResourceServer(audience, resourceServerInfo(audience))
    const refreshToken = new provider.RefreshToken({
      ...shared,
      scope,
      resource: audience,
      rotations: 0,
      iiat: shared.authTime,
    })
    const [access_token, refresh_token] = await Promise.all([accessToken.save(), refreshToken.save()])
    context.body = {
      access_token,
      refresh_token,
      token_type: 'Bearer',
      expires_in: accessToken.expiration,
      scope: 'api',
    }
  },
  ['username', 'password', 'resource', 'scope'],
)

provider.on('server_error', (_context: unknown, error: Error) => process.stderr.write(`${error.stack}\n`))
provider.listen(Number(PORT), '127.0.0.1', () => process.send?.('listening'))
process.once('disconnect', () => process.exit())
