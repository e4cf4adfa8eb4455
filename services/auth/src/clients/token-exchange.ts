import type { Database, Statement } from '@sallyport/database'
import { type Actor, clientIdOf, clientSubject, type Identity, isActor } from '@sallyport/identity'
import type { FastifyRequest } from 'fastify'
import { record } from '../events/security-events.ts'
import type { AccessTokens } from '../tokens/access.ts'
import type { AuthenticatedClient } from './authenticate.ts'
import type { Form } from './form.ts'
import { narrowScopes, targetsOf } from './narrow.ts'
import { invalidRequest, OAuthError } from './oauth-error.ts'
import type { ReadToken, TokenReader } from './subject-token.ts'
import type { TokenResponse } from './token-response.ts'

export const tokenExchange = 'urn:ietf:params:oauth:grant-type:token-exchange'
const accessTokenType = 'urn:ietf:params:oauth:token-type:access_token'
const jwtType = 'urn:ietf:params:oauth:token-type:jwt'

interface Exchange {
  id: string
  from: string
  audience: string
  roles: string[]
  scopes: string[]
}

const findExchanges: Statement = {
  name: 'find_exchanges',
  // In an order, as several may fit a token for the API as a whole: the oldest is taken.
  text: `
    SELECT id, "from", audience, roles, scopes FROM auth.client_exchanges WHERE client_id = $1
    ORDER BY created_at, id`,
}

/**
 * The first of an hour, for each session: a service that is called all the time exchanges all the time. For users and for
 * service accounts each in the form that has an index: by `IS NOT DISTINCT FROM` all events of the hour would be read.
 */
const recordedFor = (kind: string, isTheirs: string): Statement => ({
  name: `is_exchange_recorded_for_${kind}`,
  text: `
    SELECT id FROM auth.security_events
    WHERE ${isTheirs} AND at > now() - interval '1 hour'
      AND event = 'token_exchanged' AND session_id = $1 AND reason = $2 LIMIT 1`,
})
const isRecordedForUser = recordedFor('user', 'user_id = $3')
const isRecordedForClient = recordedFor('client', 'user_id IS NULL')

interface Dependencies {
  database: Database
  accessTokens: AccessTokens
  tokens: TokenReader
  /** The API as a whole, for which people's own access tokens are. */
  apiAudience: string
}

/**
 * The grant of token exchange (RFC 8693), by delegation: a service account that was called gets a token with which it calls
 * on, at one audience, for whoever called it. Its subject stays who that is; the service account is in `act`, around
 * whoever acted before. Only where an exchange is registered, with no roles and scopes but those of the exchange, and no
 * longer than what it is exchanged for.
 */
export function createTokenExchange({ database, accessTokens, tokens, apiAudience }: Dependencies) {
  return async function exchange(
    client: AuthenticatedClient,
    form: Form,
    { log, ip }: FastifyRequest,
  ): Promise<TokenResponse> {
    const { subject, type } = readSubject(form)
    const exchanges = await database.run<Exchange>(findExchanges, [client.id])
    const targets = targetsOf(
      form,
      exchanges.map(({ audience }) => audience),
    )
    if (targets.length > 1) throw new OAuthError('invalid_target', 'a token is exchanged for one audience at a time')
    const isFor = ({ from }: Exchange) =>
      subject.audiences.includes(from) || (type === accessTokenType && subject.audiences.includes(apiAudience))
    const [found, ...others] = exchanges.filter(
      (exchange) => isFor(exchange) && (targets.length === 0 || exchange.audience === targets[0]),
    )
    if (!found) throw invalidRequest('the subject token is for no service that the client may exchange for')
    if (others.some(({ audience }) => audience !== found.audience)) throw invalidRequest('audience is missing')
    if (!(await tokens.isLive(subject))) throw invalidSubject('it has ended')

    const identity = actFor(subject.identity, found, client, narrowedScopes(form, subject.identity, found))
    const { token, expiresIn } = accessTokens.issue({
      identity,
      clientId: client.id,
      audiences: [found.audience],
      endsBy: Math.min(subject.expiresAt, client.credentialEndsAt ?? Number.POSITIVE_INFINITY),
    })
    if (expiresIn <= 0) throw invalidSubject('it has expired')
    await note(identity, found, client, { log, ip })
    return {
      access_token: token,
      issued_token_type: accessTokenType,
      token_type: 'Bearer',
      expires_in: expiresIn,
      scope: (identity.scopes as string[]).join(' '),
    }
  }

  /** @throws invalid_request for all that RFC 8693 allows and we do not do, and for a token that is invalid */
  function readSubject(form: Form): { subject: ReadToken; type: string } {
    const token = form.need('subject_token')
    const type = form.need('subject_token_type')
    if (form.get('actor_token') !== undefined || form.get('actor_token_type') !== undefined)
      throw invalidRequest('the actor is the client itself: send no actor_token')
    if (![undefined, accessTokenType].includes(form.get('requested_token_type')))
      throw invalidRequest('requested_token_type is no access token')
    if (type !== accessTokenType && type !== jwtType) throw invalidRequest('subject_token_type is none that is taken')
    const subject = type === accessTokenType ? tokens.accessToken(token) : tokens.assertion(token)
    if (!subject) throw invalidSubject('it is not one of ours, or has expired')
    return { subject, type }
  }

  function narrowedScopes(form: Form, { scopes }: Identity, exchange: Exchange): string[] {
    return narrowScopes(
      form,
      exchange.scopes.filter((scope) => scopes?.includes(scope) ?? true),
    )
  }

  /** The subject as it was, with no more than the exchange allows, and with the client as who acts. */
  function actFor(subject: Identity, exchange: Exchange, client: AuthenticatedClient, scopes: string[]): Identity {
    const roles = subject.roles.filter((role) => exchange.roles.includes(role))
    const [role] = roles
    if (role === undefined && subject.caller === 'user')
      throw new OAuthError('invalid_target', 'the subject has no role that is carried over to this audience')
    const act: Actor = {
      sub: clientSubject(client.id),
      sid: client.credentialId,
      grant: exchange.id,
      ...(subject.act && { act: subject.act }),
    }
    if (!isActor(act)) throw invalidRequest('too many act for one another already')
    const { role: _, ...same } = subject
    return { ...same, ...(role !== undefined && { role }), roles, scopes, act }
  }

  async function note(
    { userId, sessionId, act }: Identity,
    { id, audience }: Exchange,
    { id: client }: AuthenticatedClient,
    { log, ip }: Pick<FastifyRequest, 'log' | 'ip'>,
  ): Promise<void> {
    const user = clientIdOf(userId) === undefined ? userId : undefined
    const reason = `${audience} by exchange ${id}`
    const recorded = await (user === undefined
      ? database.run(isRecordedForClient, [sessionId, reason])
      : database.run(isRecordedForUser, [sessionId, reason, user]))
    const event = { event: 'token_exchanged', user, client, session: sessionId, act, ip, reason } as const
    if (recorded.length > 0) log.info(event)
    else await record(database, log, event)
  }
}

const invalidSubject = (why: string) => invalidRequest('the subject token is invalid', why)
