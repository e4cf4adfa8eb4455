import { readFileSync } from 'node:fs'
import { ConfigurationError, readDuration } from '@sallyport/chassis'
import { isRole } from '@sallyport/identity'
import { Ajv, type ErrorObject } from 'ajv'
import type { FromSchema } from 'json-schema-to-ts'
import { parse } from 'yaml'
import { roundRobin, type Upstream, type Upstreams } from '../proxy/upstreams.ts'
import { fold } from './path.ts'
import { faultOf, rewriter, strippedPrefix, withoutEnd } from './route-prefix.ts'
import { createStepUp, levels, type StepUp } from './step-up.ts'

const texts = { type: 'array', items: { type: 'string' }, minItems: 1 } as const
const flag = { type: 'boolean', default: false } as const

/** One entry of the file, as docs/routes.md describes it. */
const entrySchema = {
  type: 'object',
  required: ['prefix', 'upstreams', 'access'],
  additionalProperties: false,
  properties: {
    /** The path itself and everything below it, by whole segments. */
    prefix: { type: 'string' },
    upstreams: texts,
    access: { enum: ['public', 'optional', 'authenticated'] },
    /** The caller needs one of these; without them any caller will do. */
    roles: texts,
    /** At which level the caller must have proved who they are, and how long ago at most, such as `5m`. */
    acr: { enum: levels },
    maxAge: { type: ['string', 'integer'] },
    /** How long the upstream may take to begin its response, in milliseconds. */
    timeout: { type: 'integer', minimum: 1, default: 30_000 },
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
  },
} as const

const fileSchema = {
  type: 'object',
  required: ['routes'],
  additionalProperties: false,
  properties: { routes: { type: 'array', items: entrySchema } },
} as const

type RouteEntry = FromSchema<typeof entrySchema>
const isRouteFile = new Ajv({ useDefaults: true, allowUnionTypes: true }).compile<FromSchema<typeof fileSchema>>(
  fileSchema,
)

/** An entry with its names resolved. */
export interface Route extends Omit<RouteEntry, 'upstreams' | 'acr' | 'maxAge'> {
  upstreams: Upstream[]
  stepUp: StepUp | undefined
  audience: string
  /** A path that was matched, as the upstream gets it. */
  upstreamPath(path: string): string
  /** What `upstreamPath` takes away, for upstreams that make links; undefined if that is nothing. */
  strippedPrefix: string | undefined
  /** The next upstream, round-robin; another one than this, if there is another. */
  pick(except?: Upstream): Upstream
}

/** @throws ConfigurationError naming the file, the route and what to fix */
export function readRoutes(
  file: string,
  environment: Record<string, string | undefined>,
  upstreams: Upstreams,
): Map<string, Route> {
  const refuse = (why: string, cause?: unknown) => new ConfigurationError(`${file}: ${why}`, { cause })
  const content = readContent(file, refuse)
  if (!isRouteFile(content)) {
    const { instancePath, params, message } = (isRouteFile.errors as ErrorObject[])[0] as ErrorObject
    const { additionalProperty: unknown } = params
    const fault =
      unknown === undefined ? `${instancePath || 'the file'} ${message}` : `${instancePath}/${unknown} is not known`
    throw refuse(`${fault}; see docs/routes.md for what a route takes`)
  }
  const table = new Map<string, Route>()
  for (const entry of content.routes) {
    const route = toRoute(entry, environment, upstreams, (why) => refuse(`route ${entry.prefix}: ${why}`))
    const same = [...table.keys()].find((prefix) => fold(prefix) === fold(route.prefix))
    if (same === route.prefix) throw refuse(`route ${route.prefix} is there twice; keep one`)
    if (same) throw refuse(`routes ${same} and ${route.prefix} are the same to some servers; keep one`)
    table.set(route.prefix, route)
  }
  return table
}

function readContent(file: string, refuse: (why: string, cause: unknown) => Error): unknown {
  try {
    return parse(readFileSync(file, 'utf8'))
  } catch (error) {
    throw refuse(`cannot be read as YAML or JSON (${(error as Error).message.split('\n', 1)[0]})`, error)
  }
}

function toRoute(
  entry: RouteEntry,
  environment: Record<string, string | undefined>,
  known: Upstreams,
  refuse: (why: string) => Error,
): Route {
  const fault = faultOf(entry.prefix)
  if (fault) throw refuse(`the prefix ${fault}`)
  const prefix = withoutEnd(entry.prefix)
  const rewrite = toRewrite(entry, refuse)
  if (entry.roles && entry.access !== 'authenticated') throw refuse('roles need `access: authenticated`')
  const wrong = entry.roles?.find((role) => !isRole(role))
  if (wrong !== undefined) throw refuse(`"${wrong}" cannot be a role; roles are lower-case words`)
  const stepUp = toStepUp(entry, refuse)

  const origins = entry.upstreams.map((upstream) => toOrigin(upstream, environment, refuse))
  if (entry.preserveHost && origins.some((origin) => origin.startsWith('https:')))
    throw refuse('preserveHost is for upstreams over http; over https an upstream is known by its own name')
  const upstreams = origins.map((origin) => known.at(origin))
  return {
    ...entry,
    prefix,
    upstreams,
    stepUp,
    audience: entry.audience ?? new URL(origins[0] as string).hostname,
    upstreamPath: rewriter(prefix, rewrite),
    strippedPrefix: strippedPrefix(prefix, rewrite),
    pick: roundRobin(upstreams),
  }
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

/** An upstream may name a variable, as `${AUTH_URL}`, so that one file serves every place it is deployed to. */
function toOrigin(
  upstream: string,
  environment: Record<string, string | undefined>,
  refuse: (why: string) => Error,
): string {
  const address = upstream.replace(/\$\{(\w+)\}/g, (_, name: string) => {
    const value = environment[name]
    if (!value) throw refuse(`the upstream names ${name}, which is not set; set it to an address like http://auth:5001`)
    return value
  })
  const url = URL.canParse(address) ? new URL(address) : undefined
  if (
    !url ||
    !/^https?:$/.test(url.protocol) ||
    url.username ||
    url.password ||
    url.pathname !== '/' ||
    url.search ||
    url.hash
  )
    throw refuse(`upstream "${address}" is not an address like http://auth:5001`)
  return url.origin
}
