import { hash, type KeyObject } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { ConfigurationError, readDuration } from '@sallyport/chassis'
import { type CallerKind, callerKinds, isRole, isScope } from '@sallyport/identity'
import { type Issuer, isWebAddress, withoutUser } from '@sallyport/verify'
import { Ajv, type ErrorObject } from 'ajv'
import type { FromSchema } from 'json-schema-to-ts'
import { parse } from 'yaml'
import { roundRobin, type Upstream, type Upstreams } from '../proxy/upstreams.ts'
import { issuerSchema, toIssuerEntry } from './issuer-entry.ts'
import type { Issuers } from './issuers.ts'
import { type Method, methods } from './methods.ts'
import { readHost } from './route-host.ts'
import { createRouteLookup, type RouteLookup } from './route-lookup.ts'
import { faultOf, rewriter, strippedPrefix, withoutEnd } from './route-prefix.ts'
import { readResponseHeaders } from './route-response-headers.ts'
import { createStepUp, levels, type StepUp } from './step-up.ts'
import { isUnknown, substitute, type Variables } from './substitute.ts'

const texts = { type: 'array', items: { type: 'string' }, minItems: 1 } as const
const flag = { type: 'boolean', default: false } as const

/** One entry of the file, as docs/routes.md describes it. */
const entrySchema = {
  type: 'object',
  required: ['prefix', 'access'],
  additionalProperties: false,
  properties: {
    /** The path itself and everything below it, by whole segments. */
    prefix: { type: 'string' },
    /** On these hosts alone, and there before any route that names none. */
    hosts: texts,
    /** For these methods alone; HEAD goes with GET. */
    methods: { type: 'array', items: { enum: methods }, minItems: 1, uniqueItems: true },
    /** Where it goes; may be left out where another proxy forwards (FORWARD_AUTH_PORT). */
    upstreams: texts,
    access: { enum: ['public', 'optional', 'authenticated'] },
    /** The caller needs one of these; without them any caller will do. */
    roles: texts,
    /** Whose tokens it takes: those of every issuer, unless it says otherwise. */
    issuers: texts,
    /** Which kinds of callers it is for: people alone, unless it says otherwise. */
    callers: { type: 'array', items: { enum: callerKinds }, minItems: 1, uniqueItems: true },
    /** A caller whose token is limited to scopes needs all of these. */
    scopes: texts,
    /** At which level the caller must have proved who they are, and how long ago at most, such as `5m`. */
    acr: { enum: levels },
    maxAge: { type: ['string', 'integer'] },
    /** How long the upstream may take to begin its response, in milliseconds. */
    timeout: { type: 'integer', minimum: 1, default: 30_000 },
    /** Of each upstream: the most connections for this route, requests that wait for one, and for how many milliseconds. */
    connections: { type: 'integer', minimum: 1 },
    queue: { type: 'integer', minimum: 0 },
    queueTimeout: { type: 'integer', minimum: 1 },
    /** The largest request body, in bytes. */
    bodyLimit: { type: 'integer', minimum: 0, default: 10 * 1024 * 1024 },
    /** Requests per client and minute for this route alone; without it they count towards the common limit. */
    rateLimit: { type: 'integer', minimum: 1 },
    websocket: flag,
    /** For whom the identity assertion is made out. */
    audience: { type: 'string', minLength: 1 },
    forwardAuthorization: flag,
    /** Whether the upstream gets the cookies of the auth service: the refresh cookie, and the one of known devices. */
    refreshCookie: flag,
    rewrite: { type: 'string' },
    stripPrefix: flag,
    /** Whether the upstream gets the client's Host instead of its own. */
    preserveHost: flag,
    /** Of the upstream's responses, unless it says them itself. */
    responseHeaders: { type: 'object', additionalProperties: { type: 'string' }, default: {} },
  },
} as const

const fileSchema = {
  type: 'object',
  required: ['routes'],
  additionalProperties: false,
  properties: { routes: { type: 'array', items: entrySchema }, issuers: { type: 'array', items: issuerSchema } },
} as const

type RouteEntry = FromSchema<typeof entrySchema>
// That this is a schema is for tests to find: asking Ajv takes as long as reading the file.
const options = { useDefaults: true, allowUnionTypes: true, allErrors: true, validateSchema: false }
const isRouteFile = new Ajv(options).compile<FromSchema<typeof fileSchema>>(fileSchema)

/** An entry with its names resolved. */
export interface Route
  extends Omit<RouteEntry, 'hosts' | 'methods' | 'upstreams' | 'callers' | 'acr' | 'maxAge' | 'responseHeaders'> {
  /** The prefix; before it the methods and hosts of a route that names some. No two routes have the same. */
  name: string
  hosts: readonly string[] | undefined
  methods: readonly Method[] | undefined
  upstreams: Upstream[]
  callers: readonly CallerKind[]
  stepUp: StepUp | undefined
  audience: string
  /** A path that was matched, as the upstream gets it. */
  upstreamPath(path: string): string
  /** What `upstreamPath` takes away, for upstreams that make links; undefined if that is nothing. */
  strippedPrefix: string | undefined
  /** Names in lower case and values in a flat list. */
  responseHeaders: readonly string[]
  /** The next upstream, round-robin; another one than this, if there is another. */
  pick(except?: Upstream): Upstream
}

/** What the file says: its routes, and its issuers by their names. */
export interface RouteFile {
  /** Of its text: the first 16 digits of a SHA-256, in hexadecimal. */
  digest: string
  lookup: RouteLookup
  issuers: ReadonlyMap<string, Issuer<KeyObject>>
}

/** What routes lead to, and whose tokens they take. */
export interface Parts {
  upstreams: Pick<Upstreams, 'at'>
  issuers: Pick<Issuers, 'own' | 'at'>
  /** Whether other proxies ask for decisions, so that a route may have no upstream. */
  forwardAuth: boolean
  /** How many processes share what a route may have of an upstream, if not one. */
  workers?: number
}

/**
 * @param unset takes the variables that it names and that are not set, in place of refusing them: to look at a file where its
 *   gateway is not. Whose tokens are taken is then not known either.
 * @throws ConfigurationError naming the file, the route and what to fix
 */
export function readRouteFile(
  file: string,
  environment: Variables['environment'],
  { upstreams, issuers: open, forwardAuth, workers = 1 }: Parts,
  unset?: Set<string>,
): RouteFile {
  const refuse = (why: string, cause?: unknown) => new ConfigurationError(`${file}: ${why}`, { cause })
  const { content, digest } = readContent(file, refuse)
  if (!isRouteFile(content)) throw refuse(describeFault(content, isRouteFile.errors as ErrorObject[]))
  const variables = { environment, unset }
  const issuers = new Map<string, Issuer<KeyObject>>()
  for (const written of content.issuers ?? []) {
    const entry = toIssuerEntry(written, variables, (why) => refuse(`issuer ${written.issuer}: ${why}`))
    const { issuer } = entry
    if (issuers.has(issuer)) throw refuse(`issuer ${issuer} is there twice; keep one`)
    if (issuer === open.own?.name)
      throw refuse(`issuer ${issuer} is the auth service, which JWT_ISSUER names already; keep one of the two`)
    issuers.set(issuer, open.at(entry))
  }
  const named = new Set([...issuers.keys(), ...(open.own ? [open.own.name] : [])])
  const routes = content.routes.map((entry) => {
    const refuseRoute = (why: string) => refuse(`route ${nameOf(entry.prefix, entry.hosts, entry.methods)}: ${why}`)
    const route = toRoute(entry, { variables, upstreams, forwardAuth, workers }, refuseRoute)
    if (open.own || !unset) checkIssuers(route, named, refuseRoute)
    return route
  })
  return { digest, lookup: createRouteLookup(routes, refuse), issuers }
}

/** A key that is not known comes first: whoever misspelt one hears of that, and not that the right one is missing. */
function describeFault(content: unknown, errors: ErrorObject[]): string {
  const isOfUnknown = ({ keyword }: ErrorObject) => keyword === 'additionalProperties'
  const { instancePath, params, message } = errors.find(isOfUnknown) ?? (errors[0] as ErrorObject)
  const steps = instancePath.split('/').slice(1)
  const [list = '', at] = steps
  const [kind, name, see] =
    list === 'issuers'
      ? ['issuer', 'issuer', 'docs/issuers.md for what an issuer takes']
      : ['route', 'prefix', 'docs/routes.md for what a route takes']
  let place = 'the file'
  if (at !== undefined) {
    const written = (content as Record<string, Record<string, unknown>[]>)[list]?.[Number(at)]?.[name]
    place = `${kind} ${Number(at) + 1}${typeof written === 'string' ? ` (${written})` : ''}`
    steps.splice(0, 2)
  }
  const { additionalProperty: unknown } = params
  const what = [...steps, ...(unknown === undefined ? [] : [unknown])].join('/')
  return `${place}${what && `: ${what}`} ${unknown === undefined ? message : 'is not known'}; see ${see}`
}

function checkIssuers({ access, issuers }: Route, named: ReadonlySet<string>, refuse: (why: string) => Error): void {
  if (access !== 'public' && named.size === 0)
    throw refuse(
      'it takes tokens, and whose is not said; set JWT_ISSUER, JWT_AUDIENCE and JWKS_URL, or list `issuers` in this file',
    )
  const unknown = issuers?.find((issuer) => !named.has(issuer))
  if (unknown !== undefined) throw refuse(`issuer ${unknown} is not known; there are ${[...named].join(', ')}`)
}

function nameOf(prefix: string, hosts: string[] = [], methods: string[] = []): string {
  return `${methods.join()}${methods.length > 0 ? ' ' : ''}${hosts.join()}${prefix}`
}

function readContent(
  file: string,
  refuse: (why: string, cause: unknown) => Error,
): { content: unknown; digest: string } {
  try {
    const text = readFileSync(file, 'utf8')
    return { content: parse(text), digest: hash('sha256', text).slice(0, 16) }
  } catch (error) {
    throw refuse(`cannot be read as YAML or JSON (${(error as Error).message.split('\n', 1)[0]})`, error)
  }
}

/** Where upstreams are, and whether a route needs one. */
interface Places {
  variables: Variables
  upstreams: Pick<Upstreams, 'at'>
  forwardAuth: boolean
  workers: number
}

function toRoute(entry: RouteEntry, places: Places, refuse: (why: string) => Error): Route {
  const fault = faultOf(entry.prefix)
  if (fault) throw refuse(`the prefix ${fault}`)
  const prefix = withoutEnd(entry.prefix)
  const hosts = entry.hosts?.map((host) => readHost(host, refuse))
  const twice = hosts?.find((host, at) => hosts.indexOf(host) !== at)
  if (twice !== undefined) throw refuse(`the host ${twice} is there twice; keep one`)
  if (entry.websocket && entry.methods?.includes('GET') === false)
    throw refuse('a WebSocket begins with a GET; add it to `methods`')
  const rewrite = toRewrite(entry, refuse)
  if (entry.roles && entry.access !== 'authenticated') throw refuse('roles need `access: authenticated`')
  const wrong = entry.roles?.find((role) => !isRole(role))
  if (wrong !== undefined) throw refuse(`"${wrong}" cannot be a role; roles are lower-case words`)
  if (entry.issuers && entry.access === 'public') throw refuse('issuers need `access: authenticated` or `optional`')
  if (entry.callers && entry.access === 'public') throw refuse('callers need `access: authenticated` or `optional`')
  if (entry.scopes && entry.access !== 'authenticated') throw refuse('scopes need `access: authenticated`')
  const unfit = entry.scopes?.find((scope) => !isScope(scope))
  if (unfit !== undefined) throw refuse(`"${unfit}" cannot be a scope; scopes are words without spaces or quotes`)
  const stepUp = toStepUp(entry, refuse)

  if (!entry.upstreams && !places.forwardAuth)
    throw refuse('there are no upstreams; only with FORWARD_AUTH_PORT a route needs none')
  const origins = (entry.upstreams ?? []).map((upstream) => toOrigin(upstream, places.variables, refuse))
  if (entry.preserveHost && origins.some((origin) => origin.startsWith('https:')))
    throw refuse('preserveHost is for upstreams over http; over https an upstream is known by its own name')
  const [first = ''] = origins
  if (first === '' && !entry.audience && entry.access !== 'public')
    throw refuse('without upstreams it needs an audience, which says for whom identities are signed')
  const upstreams = origins.map((origin) => places.upstreams.at(origin))
  return {
    ...entry,
    ...partOf(entry, places.workers, refuse),
    name: nameOf(prefix, hosts, entry.methods),
    prefix,
    hosts,
    methods: withHead(entry.methods),
    upstreams,
    callers: entry.callers ?? ['user'],
    ...(entry.issuers && {
      issuers: entry.issuers.map((issuer) => substitute(issuer, 'issuers', places.variables, refuse)),
    }),
    stepUp,
    audience: entry.audience ?? (URL.canParse(first) ? new URL(first).hostname : first),
    upstreamPath: rewriter(prefix, rewrite),
    strippedPrefix: strippedPrefix(prefix, rewrite),
    responseHeaders: readResponseHeaders(entry.responseHeaders, refuse),
    pick: roundRobin(upstreams),
  }
}

/** What each of several workers has of a route's bounds, so that all of them together keep to these. */
function partOf({ connections, queue }: RouteEntry, workers: number, refuse: (why: string) => Error) {
  if (connections !== undefined && connections < workers)
    throw refuse(`connections is ${connections}, less than GATEWAY_WORKERS (${workers}), which share it`)
  return {
    ...(connections !== undefined && { connections: Math.floor(connections / workers) }),
    ...(queue !== undefined && { queue: Math.floor(queue / workers) }),
  }
}

/** What has a GET has a HEAD (RFC 9110 section 9.3.2). */
function withHead(named: Method[] | undefined): Method[] | undefined {
  return named?.includes('GET') && !named.includes('HEAD') ? [...named, 'HEAD'] : named
}

function toStepUp({ access, acr, maxAge }: RouteEntry, refuse: (why: string) => Error): StepUp | undefined {
  if (acr === undefined && maxAge === undefined) return undefined
  if (access !== 'authenticated') throw refuse('acr and maxAge need `access: authenticated`')
  if (maxAge === undefined) return createStepUp(acr, undefined)
  const span = readDuration(String(maxAge))
  // In seconds without a fraction, since the challenge says it so; and in no time nobody can step up.
  if (!Number.isSafeInteger(span) || span === 0)
    throw refuse(`maxAge "${maxAge}" is not a span of time of one second or more, like 5m or 300`)
  return createStepUp(acr, span)
}

/** What takes the place of the prefix; `stripPrefix` is the name under which most look for `rewrite: /`. */
function toRewrite({ rewrite, stripPrefix }: RouteEntry, refuse: (why: string) => Error): string | undefined {
  if (rewrite === undefined) return stripPrefix ? '/' : undefined
  if (stripPrefix) throw refuse('stripPrefix is the same as `rewrite: /`; keep one of the two')
  const fault = faultOf(rewrite)
  if (fault) throw refuse(`rewrite ${fault}`)
  return withoutEnd(rewrite)
}

function toOrigin(written: string, variables: Variables, refuse: (why: string) => Error): string {
  const address = substitute(written, 'the upstream', variables, refuse)
  if (isUnknown(address, variables)) return address
  const url = isWebAddress(address) ? new URL(address) : undefined
  if (url?.pathname !== '/' || url.search || url.hash)
    throw refuse(`upstream "${withoutUser(address)}" is not an address like http://auth:5001`)
  return url.origin
}
