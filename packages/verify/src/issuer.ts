import { type Algorithm, usualAlgorithms } from './algorithm.ts'
import { identityFromClaims, scopesFrom } from './claims.ts'
import {
  actorsOf,
  areMethods,
  clientSubject,
  type Identity,
  identityFrom,
  isContext,
  isEmail,
  isRole,
  isTime,
} from './identity.ts'
import type { KeySet } from './key-set.ts'
import { mismatch } from './shown.ts'

/** Whose tokens are taken, and how to read them. */
export interface Issuer<Key = unknown> {
  /** The `iss` of its tokens. */
  name: string
  /** A token is for here if its audiences include one of these. */
  audiences: readonly string[]
  /** The types (`typ`) that are taken (RFC 8725 section 3.11), and whether one is; undefined for a token that names none. */
  types: readonly string[]
  takesType(type: string | undefined): boolean
  /** What a header may hold beside `alg`, `typ` and `kid`. */
  otherHeaders: ReadonlySet<string>
  keySet: KeySet<Key>
  /** Where a token says for whom it is, for the log. */
  audienceClaim: string
  /** For whom a token is (`aud`); undefined for claims that do not say it. */
  audiencesOf(claims: Claims): readonly string[] | undefined
  /** Whose token it is; why not, for claims that do not say it, or that are of another kind of token. */
  identityOf(claims: Claims): Identity | string
  /** Ids with which a token ends before it expires. */
  idsOf(identity: Identity, claims: Claims): string[]
  /** Whether a token may be for the routes of an audience alone. */
  hasRouteAudiences: boolean
  /** The most characters of a token. */
  longestToken: number
}

/** Some write every group of a user into a token. */
export const longestToken = 8_192

export type Claims = Record<string, unknown>

/** The claim that says something: by name, or by a path through objects. */
export type ClaimPath = string | readonly string[]

/** How the tokens of an issuer other than Sallyport are read. */
export interface ForeignIssuer {
  /** The `iss` of its tokens, letter by letter. */
  issuer: string
  /** What its tokens must be for: one of these in `aud`. */
  audience: string | readonly string[]
  /** Values of `typ` (`at+jwt`): `JWT` is also a token that names no type. */
  types?: readonly string[]
  /** The first that fits a key is used with it, unless the key names one (`ES256`, `RS256`, `EdDSA`). */
  algorithms?: readonly Algorithm[]
  /** Where its tokens say what; by default `sub`, `aud`, `roles`, `email`, `sid`, `scope` and `acr`. */
  claims?: Partial<Record<'subject' | 'audience' | 'roles' | 'email' | 'session' | 'scopes' | 'acr', ClaimPath>>
  /** Its roles, and ours for them. With it no other role is passed on. */
  roleMap?: Readonly<Record<string, string>>
  /** What claims of its access tokens must be, or have among others, where other tokens of the issuer look the same. */
  require?: Readonly<Record<string, boolean | string | readonly string[]>>
  /** By which claims a token is a machine's; `true` for any value. One whose subject is its own client always is. */
  clients?: Readonly<Record<string, string | true>>
}

/** Thumbprints of certificates (RFC 7515 section 4.1.7) name no other key than `kid` does: they are not read. */
const thumbprints = new Set(['x5t', 'x5t#S256'])

/** Sallyport's own auth service, whose tokens say all that there is to know (RFC 9068). */
export function ownIssuer<Key>(name: string, audience: string, keySet: KeySet<Key>): Issuer<Key> {
  return {
    name,
    audiences: [audience],
    types: ['at+jwt'],
    takesType: (type) => type === 'at+jwt',
    otherHeaders: new Set(),
    keySet,
    audienceClaim: 'aud',
    audiencesOf: ({ aud }) => textsOf(aud),
    identityOf(claims) {
      const { jti, client_id: client } = claims
      if (typeof jti !== 'string' || typeof client !== 'string' || claims.token_iss !== undefined) return wrongClaims
      const identity = identityFromClaims(claims)
      if (!identity) return wrongClaims
      // Who acts for a service account asked for the token; otherwise that did itself.
      return identity.clientId !== undefined && !identity.act && client !== identity.clientId ? wrongClaims : identity
    },
    idsOf: ({ sessionId, act }, { jti }) =>
      [sessionId, jti as string, ...actorsOf(act).flatMap(({ sid, grant }) => [sid, grant])].filter(
        (id) => id !== undefined,
      ),
    hasRouteAudiences: true,
    // None comes near it.
    longestToken: 4_096,
  }
}

/**
 * Another issuer. What its tokens do not say, or say in a form that is none, is left out, but for who it is.
 *
 * @throws Error for a `roleMap` that makes something else than roles
 */
export function foreignIssuer<Key>(settings: ForeignIssuer, keySet: KeySet<Key>): Issuer<Key> {
  const { issuer, audience, types = ['at+jwt'], claims: places = {}, roleMap, require = {}, clients = {} } = settings
  const { subject, audience: aud, roles, email, session, scopes, acr } = { ...usualPlaces, ...places }
  const taken = new Set(types.map(typeOf))
  const fault = faultOfRoleMap(roleMap)
  if (fault) throw new Error(fault)
  return {
    name: issuer,
    audiences: [audience].flat(),
    types,
    takesType: (type = 'JWT') => taken.has(typeOf(type)),
    otherHeaders: thumbprints,
    keySet,
    audienceClaim: nameOf(aud),
    audiencesOf: (claims) => textsOf(at(claims, aud)),
    identityOf(claims) {
      for (const [name, values] of Object.entries(require))
        if (!isOneOf(at(claims, name), values)) return mismatch(name, at(claims, name), values)
      const sub = at(claims, subject)
      if (typeof sub !== 'string') return `${nameOf(subject)} is no text`
      const isClient =
        Object.entries(clients).some(([name, value]) => {
          const found = at(claims, name)
          return value === true ? found !== undefined : isOneOf(found, value)
        }) || [claims.client_id, claims.azp, claims.cid].some((client) => sub === client || sub === `${client}@clients`)
      const held = toRoles(at(claims, roles), roleMap)
      const [address] = [at(claims, email)].flat()
      const identity = identityFrom({
        caller: isClient ? 'client' : 'user',
        issuer,
        ...(isClient ? { userId: clientSubject(sub), clientId: sub } : { userId: sub }),
        email: isClient || !isVerified(claims) || !isEmail(address) ? undefined : address,
        role: held[0],
        roles: held,
        sessionId: at(claims, session),
        scopes: toScopes(at(claims, scopes)),
        act: claims.act,
        acr: only(isContext, at(claims, acr)),
        authTime: only(isTime, claims.auth_time),
        amr: only(areMethods, claims.amr),
      })
      return identity ?? wrongClaims
    },
    // They end when they expire: no stream tells of them.
    idsOf: () => [],
    hasRouteAudiences: false,
    longestToken,
  }
}

/** Why a `roleMap` makes something else than roles; undefined if it does not. */
export function faultOfRoleMap(roleMap: ForeignIssuer['roleMap'] = {}): string | undefined {
  const [theirs, ours] = Object.entries(roleMap).find(([, role]) => !isRole(role)) ?? []
  return theirs === undefined ? undefined : `"${ours}", for "${theirs}", cannot be a role; roles are lower-case words`
}

/** Which of several may say whom it is about, and so stays out of the log. */
const wrongClaims = 'wrong claims'

export const algorithmsOf = ({ algorithms = usualAlgorithms }: ForeignIssuer): readonly Algorithm[] => algorithms

const usualPlaces = {
  subject: 'sub',
  audience: 'aud',
  roles: 'roles',
  email: 'email',
  session: 'sid',
  scopes: 'scope',
  acr: 'acr',
} as const satisfies Record<string, ClaimPath>

/** Some write it as a text. Where nothing is said, what the issuer writes is taken for verified. */
const isVerified = ({ email_verified: verified = true }: Claims) => verified === true || verified === 'true'

/** A type of token without case, and without the `application/` that it may have (RFC 7515 section 4.1.9). */
const typeOf = (type: string): string => type.toLowerCase().replace(/^application\//, '')

/**
 * What stands at a place of the claims. A name with `/` or `:` in it is one claim, as `https://example.com/roles` and
 * `cognito:groups` are; any other is a path with dots, as `realm_access.roles`; a list is a path as it stands.
 */
function at(claims: Claims, place: ClaimPath): unknown {
  const path = typeof place !== 'string' ? place : /[/:]/.test(place) ? [place] : place.split('.')
  let value: unknown = claims
  for (const name of path)
    value =
      typeof value === 'object' && value !== null && Object.hasOwn(value, name) ? (value as Claims)[name] : undefined
  return value
}

const nameOf = (place: ClaimPath): string => [place].flat().join('.')

/** Whether a claim is what is wanted; of a list, or a text of several words such as a scope, whether that is in it. */
function isOneOf(value: unknown, wanted: boolean | string | readonly string[]): boolean {
  const values = typeof value === 'string' ? [value, ...value.split(' ')] : [value].flat()
  return [wanted].flat().some((one) => values.includes(one))
}

/** What is a role here: as `roleMap` has it, or without that whatever has the form of one. */
function toRoles(value: unknown, roleMap: ForeignIssuer['roleMap']): string[] {
  const theirs = listOf(value)
  const ours = roleMap
    ? theirs.flatMap((role) => (Object.hasOwn(roleMap, role) ? [roleMap[role] as string] : []))
    : theirs.filter(isRole)
  return [...new Set(ours)]
}

const toScopes = (value: unknown): unknown => {
  const scopes = typeof value === 'string' ? scopesFrom(value.trim()) : (value ?? [])
  return Array.isArray(scopes) ? [...new Set(scopes)] : scopes
}

/** A list of texts, or one text of several with spaces or commas between them. */
const listOf = (value: unknown): string[] =>
  typeof value === 'string'
    ? value.split(/[ ,]+/)
    : Array.isArray(value)
      ? value.filter((one) => typeof one === 'string')
      : []

const only = (is: (value: unknown) => boolean, value: unknown): unknown => (is(value) ? value : undefined)

function textsOf(value: unknown): readonly string[] | undefined {
  const values = typeof value === 'string' ? [value] : value
  return Array.isArray(values) && values.every((item) => typeof item === 'string') ? values : undefined
}
