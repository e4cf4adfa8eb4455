import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { type Application, Problem } from '@sallyport/chassis'
import type { Database, Prisma } from '@sallyport/database'
import { makeApiKey } from '@sallyport/identity'
import Type, { type Static } from 'typebox'
import { Name } from '../accounts/fields.ts'
import { type AdminGuards, Id } from '../admin/fields.ts'
import { record } from '../events/security-events.ts'
import { CredentialView, viewCredential } from './fields.ts'
import { type Jwks, readJwks } from './jwks.ts'
import { lockClient } from './lock-client.ts'
import type { RemoteJwks } from './remote-jwks.ts'

interface Dependencies extends AdminGuards {
  database: Database
  remoteJwks: RemoteJwks
}

/** All of them are read with their account, whenever it proves who it is. */
export const mostCredentials = 20

const shared = { tags: ['service accounts'] }

const Credential = Type.Object({
  kind: Type.String({ enum: ['secret', 'keys', 'api_key'] }),
  name: Name,
  expiresAt: Type.Optional(Type.String({ format: 'date-time', description: 'of a secret or an API key' })),
  jwks: Type.Optional(
    Type.Object(
      { keys: Type.Array(Type.Record(Type.String(), Type.Unknown())) },
      { description: 'for `keys`: public keys, as a JWK Set (RFC 7517); or `jwksUri`' },
    ),
  ),
  jwksUri: Type.Optional(Type.String({ maxLength: 2_048, description: 'where such a set is published' })),
})

const addSchema = {
  ...shared,
  operationId: 'addCredential',
  summary: 'Add what a service account proves with who it is',
  description:
    'A secret, public keys, or an API key. A secret and an API key are shown in this response and never again. ' +
    'A `jwksUri` is fetched now, over https and from no address inside, unless CLIENT_JWKS_ORIGINS has its origin.',
  params: Id,
  body: Credential,
  response: {
    201: Type.Object(
      {
        ...CredentialView.properties,
        clientSecret: Type.Optional(Type.String()),
        apiKey: Type.Optional(Type.String()),
      },
      { description: 'The credential' },
    ),
  },
  problems: {
    400: ['JWKS_INVALID'],
    401: ['STEP_UP_REQUIRED'],
    404: ['CLIENT_NOT_FOUND'],
    409: ['CREDENTIAL_LIMIT'],
  },
}

const revokeSchema = {
  ...shared,
  operationId: 'revokeCredential',
  summary: 'Revoke a credential',
  description: 'Tokens that it got are refused from then on.',
  params: Type.Object({ ...Id.properties, credentialId: Type.String({ format: 'uuid' }) }),
  response: { 200: Type.Object({ message: Type.String() }, { description: 'It is revoked' }) },
  problems: { 401: ['STEP_UP_REQUIRED'], 404: ['CREDENTIAL_NOT_FOUND'] },
}

/** What service accounts prove with who they are, for admins. */
export function credentialRoutes(app: Application, { database, remoteJwks, admin, fully }: Dependencies): void {
  const preHandler = [admin, fully]

  app.post('/api/admin/clients/:id/credentials', { schema: addSchema, preHandler }, async (request, reply) => {
    const { id } = request.params
    const { log, ip, identity } = request
    const made = await addCredential(database, id, await toCredential(request.body, remoteJwks))
    const { id: session, kind } = made.credential
    const reason = `${kind} by ${identity.userId}`
    await record(database, log, { event: 'credential_added', client: id, session, ip, reason })
    const { clientSecret, apiKey } = made
    return reply
      .code(201)
      .send({ ...viewCredential(made.credential), ...(clientSecret && { clientSecret }), ...(apiKey && { apiKey }) })
  })

  app.delete(
    '/api/admin/clients/:id/credentials/:credentialId',
    { schema: revokeSchema, preHandler },
    async ({ params: { id: client, credentialId }, log, ip, identity }) => {
      const { count } = await database.clientCredential.deleteMany({ where: { id: credentialId, clientId: client } })
      if (count === 0) throw new Problem(404, 'CREDENTIAL_NOT_FOUND', 'There is no such credential')
      const reason = `by ${identity.userId}`
      await record(database, log, { event: 'credential_revoked', client, session: credentialId, ip, reason })
      return { message: 'The credential is revoked' }
    },
  )
}

/** A credential that is to be made, with what of it is kept. */
export type NewCredential =
  | { kind: 'secret' | 'api_key'; name: string; expiresAt?: Date | undefined }
  | { kind: 'keys'; name: string; jwks: Jwks }
  | { kind: 'keys'; name: string; jwksUri: string }

/** @throws 400 JWKS_INVALID, and REQUEST_INVALID for what does not go together */
async function toCredential(body: Static<typeof Credential>, remoteJwks: RemoteJwks): Promise<NewCredential> {
  const { kind, name, expiresAt, jwks, jwksUri } = body
  if (kind === 'keys') {
    if (expiresAt !== undefined || (jwks === undefined) === (jwksUri === undefined))
      throw malformed('Keys are given as `jwks` or as `jwksUri`, and have no `expiresAt`.')
    try {
      if (jwksUri === undefined) return { kind, name, jwks: readJwks(jwks) }
      await remoteJwks.fetch(jwksUri)
      return { kind, name, jwksUri }
    } catch (error) {
      const detail = `The JWK Set is of no use: ${(error as Error).message}.`
      throw new Problem(400, 'JWKS_INVALID', 'The keys are of no use', { detail, cause: error })
    }
  }
  if (jwks !== undefined || jwksUri !== undefined) throw malformed('A secret and an API key have no keys.')
  const ends = expiresAt === undefined ? undefined : new Date(expiresAt)
  if (ends && ends <= new Date()) throw malformed('`expiresAt` has passed.')
  return { kind: kind as 'secret' | 'api_key', name, expiresAt: ends }
}

/**
 * Makes a credential.
 *
 * @returns it, with its secret or API key, of which only a hash is kept
 * @throws 404 CLIENT_NOT_FOUND, 409 CREDENTIAL_LIMIT
 */
export async function addCredential(database: Database, clientId: string, { kind, name, ...how }: NewCredential) {
  const id = randomUUID()
  const clientSecret = kind === 'secret' ? randomBytes(32).toString('base64url') : undefined
  const apiKey = kind === 'api_key' ? makeApiKey(id) : undefined
  const secret = clientSecret ?? apiKey
  const data = { id, clientId, kind, name, ...how } as Prisma.ClientCredentialUncheckedCreateInput
  const credential = await database.$transaction(async (transaction) => {
    await lockClient(transaction, clientId)
    if ((await transaction.clientCredential.count({ where: { clientId } })) >= mostCredentials)
      throw new Problem(409, 'CREDENTIAL_LIMIT', 'The service account has too many credentials', {
        detail: 'Revoke one that is no longer used.',
      })
    return transaction.clientCredential.create({
      data: { ...data, ...(secret !== undefined && { secretHash: hashSecret(secret) }) },
    })
  })
  return { credential, clientSecret, apiKey }
}

/** Of 256 random bits, so that nothing slower is needed. */
export const hashSecret = (secret: string): Uint8Array<ArrayBuffer> =>
  new Uint8Array(createHash('sha256').update(secret).digest())

const malformed = (detail: string) =>
  new Problem(400, 'REQUEST_INVALID', 'The request has missing or wrong values', { detail })
