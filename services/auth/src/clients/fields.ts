import { Problem } from '@sallyport/chassis'
import type { Client, ClientCredential, ClientExchange } from '@sallyport/database'
import { areScopes, longestScopes, mostRoles, mostScopes, rolePattern, scopePattern } from '@sallyport/identity'
import Type, { type Static } from 'typebox'

/** What the routes for service accounts share. */

export const Roles = Type.Array(Type.String({ pattern: rolePattern }), { maxItems: mostRoles, uniqueItems: true })

/** RFC 6749 section 3.3. */
export const Scopes = Type.Array(Type.String({ pattern: scopePattern }), { maxItems: mostScopes, uniqueItems: true })

/** What a token is for: JWT_AUDIENCE, or the `audience` of routes. Written as a scope is, so that it is a word. */
const audience = '^[\\x21\\x23-\\x5b\\x5d-\\x7e]{1,128}$'
export const Audience = Type.String({ pattern: audience })
export const isAudience = (value: string) => new RegExp(audience).test(value)

export const Audiences = Type.Array(Audience, { maxItems: 8, uniqueItems: true })

const NullableText = Type.Union([Type.String(), Type.Null()])

export const ClientView = Type.Object({
  id: Type.String({ description: 'the `client_id`' }),
  name: Type.String(),
  roles: Type.Array(Type.String()),
  scopes: Type.Array(Type.String()),
  audiences: Type.Array(Type.String()),
  createdAt: Type.String(),
  lastUsedAt: Type.Union([Type.String(), Type.Null()], { description: 'to the minute' }),
})

export const CredentialView = Type.Object({
  id: Type.String({ description: 'the `sid` of its tokens' }),
  kind: Type.String({ enum: ['secret', 'keys', 'api_key'] }),
  name: Type.String(),
  createdAt: Type.String(),
  expiresAt: NullableText,
  lastUsedAt: Type.Union([Type.String(), Type.Null()], { description: 'to the minute' }),
  jwksUri: NullableText,
  keys: Type.Array(Type.Object({ kid: Type.String(), alg: Type.String() }), { description: 'of a JWK Set' }),
})

export const ExchangeView = Type.Object({
  id: Type.String(),
  from: Type.String(),
  audience: Type.String(),
  roles: Type.Array(Type.String()),
  scopes: Type.Array(Type.String()),
  createdAt: Type.String(),
})

/** @param credentials of which the last use is that of the service account */
export function viewClient(
  { id, name, roles, scopes, audiences, createdAt }: Client,
  credentials: Pick<ClientCredential, 'lastUsedAt'>[],
): Static<typeof ClientView> {
  const used = credentials.flatMap(({ lastUsedAt }) => lastUsedAt?.toISOString() ?? [])
  return {
    ...{ id, name, roles, scopes, audiences },
    createdAt: createdAt.toISOString(),
    lastUsedAt: used.sort().at(-1) ?? null,
  }
}

export function viewCredential(credential: ClientCredential): Static<typeof CredentialView> {
  const { id, kind, name, createdAt, expiresAt, lastUsedAt, jwksUri, jwks } = credential
  const keys = (jwks as { keys: { kid: string; alg: string }[] } | null)?.keys ?? []
  return {
    ...{ id, kind, name, jwksUri },
    createdAt: createdAt.toISOString(),
    expiresAt: expiresAt?.toISOString() ?? null,
    lastUsedAt: lastUsedAt?.toISOString() ?? null,
    keys: keys.map(({ kid, alg }) => ({ kid, alg })),
  }
}

export function viewExchange(exchange: ClientExchange): Static<typeof ExchangeView> {
  const { id, from, audience, roles, scopes, createdAt } = exchange
  return { ...{ id, from, audience, roles, scopes }, createdAt: createdAt.toISOString() }
}

/** @throws 400 REQUEST_INVALID for more characters than a token has room for */
export function requireFitting(scopes: string[] = [], audiences: string[] = []): void {
  if (areScopes(scopes) && audiences.join(' ').length <= longestScopes) return
  throw new Problem(400, 'REQUEST_INVALID', 'The request has missing or wrong values', {
    detail: `Scopes, and audiences, have at most ${longestScopes} characters in all.`,
  })
}

export const unknownClient = () => new Problem(404, 'CLIENT_NOT_FOUND', 'There is no such service account')
