import { bearer, call, type Peer, type Session } from './peer.ts'

export interface OpenIdOptions {
  name: string
  /** Whose discovery document says where the endpoints are. */
  issuer: string
  clientId: string
  /** Without one it is a public client, which gets no token for itself. */
  clientSecret?: string | undefined
  /** Who signs in by the grant `password`, whose turn it is. */
  user?: ((turn: number) => { username: string; password: string }) | undefined
  /** Sessions that were begun elsewhere, where that grant is not to be had: a refresh token each. */
  refreshTokens?: string[] | undefined
  /** Sent with a sign-in, such as `scope`. */
  userParameters?: Record<string, string>
  /** Sent with a request for a machine's token. */
  machineParameters?: Record<string, string>
  used?: (() => number) | undefined
}

/**
 * Any OpenID provider, by its discovery document (OpenID Connect Discovery, else RFC 8414) and the token endpoint. A check
 * is an introspection, by which a service learns whether a token is still good, or else a look at the user's claims.
 */
export async function openIdPeer(options: OpenIdOptions): Promise<Peer> {
  const { name, issuer, clientId, clientSecret, user, refreshTokens = [], used } = options
  const metadata = await discover(issuer)
  const client = authenticate(metadata, clientId, clientSecret)
  const post = (endpoint: string, form: Record<string, string>) =>
    call(endpoint, { headers: client.headers, form: { ...form, ...client.form } })
  const token = async (form: Record<string, string>): Promise<Session> => {
    const { access_token, refresh_token } = (await post(metadata.token_endpoint, form)).body
    return { access: access_token, refresh: refresh_token ?? form.refresh_token }
  }
  const begun = refreshTokens.values()

  const refresh = (session: Session) => token({ grant_type: 'refresh_token', refresh_token: session.refresh })
  const {
    introspection_endpoint: introspection,
    userinfo_endpoint: userinfo,
    revocation_endpoint: revocation,
  } = metadata
  const check =
    introspection && clientSecret
      ? async ({ access }: Session) => {
          const { body } = await post(introspection, { token: access })
          if (!body.active) throw new Error(`${name} says that a token is not active`)
        }
      : (session: Session) => call(userinfo as string, { method: 'GET', headers: bearer(session) })
  const hasSessions = user !== undefined || refreshTokens.length > 0
  const machines =
    clientSecret !== undefined && metadata.grant_types_supported?.includes('client_credentials') !== false

  return {
    name,
    measured: [
      ...(user ? (['signIn'] as const) : []),
      ...(hasSessions ? (['refresh'] as const) : []),
      ...(hasSessions && ((introspection && clientSecret) || userinfo) ? (['check'] as const) : []),
      ...(machines ? (['machineToken'] as const) : []),
      ...(user && revocation ? (['logOut'] as const) : []),
    ],
    ...(user ? {} : { sessions: refreshTokens.length }),
    async signIn(turn) {
      if (user) return token({ grant_type: 'password', ...user(turn), ...options.userParameters })
      return refresh({ access: '', refresh: begun.next().value as string })
    },
    refresh,
    check,
    machineToken: () =>
      post(metadata.token_endpoint, { grant_type: 'client_credentials', ...options.machineParameters }),
    logOut: (session) => post(revocation as string, { token: session.refresh, token_type_hint: 'refresh_token' }),
    ...(used && { used }),
  }
}

interface Metadata {
  token_endpoint: string
  introspection_endpoint?: string
  userinfo_endpoint?: string
  revocation_endpoint?: string
  grant_types_supported?: string[]
  token_endpoint_auth_methods_supported?: string[]
}

async function discover(issuer: string): Promise<Metadata> {
  const { origin, pathname } = new URL(issuer)
  const path = pathname.replace(/\/$/, '')
  const places = [`${path}/.well-known/openid-configuration`, `/.well-known/oauth-authorization-server${path}`]
  const documents = await Promise.allSettled(places.map((place) => call(origin + place, { method: 'GET' })))
  for (const document of documents)
    if (document.status === 'fulfilled' && document.value.body?.token_endpoint) return document.value.body
  throw new Error(`${issuer} has no discovery document at ${places.join(' or ')}`)
}

function authenticate({ token_endpoint_auth_methods_supported: methods }: Metadata, id: string, secret?: string) {
  if (secret === undefined) return { headers: {}, form: { client_id: id } }
  // By default it is the one in a header (OpenID Connect Discovery section 3).
  if (methods && !methods.includes('client_secret_basic'))
    return { headers: {}, form: { client_id: id, client_secret: secret } }
  const [name, password] = [id, secret].map((text) => new URLSearchParams({ text }).toString().slice('text='.length))
  return { headers: { authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}` }, form: {} }
}
