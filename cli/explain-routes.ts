import type { KeyObject } from 'node:crypto'
import { host as hostForm } from '@sallyport/gateway/connections/message'
import type { IssuerEntry } from '@sallyport/gateway/pipeline/issuers'
import { isAllowed, methods } from '@sallyport/gateway/pipeline/methods'
import { isTooLong, normalise } from '@sallyport/gateway/pipeline/path'
import { type Route, readRouteFile } from '@sallyport/gateway/pipeline/route-file'
import { hostOf } from '@sallyport/gateway/pipeline/route-host'
import { NoRoute, type RouteLookup } from '@sallyport/gateway/pipeline/route-lookup'
import type { Upstream } from '@sallyport/gateway/proxy/upstreams'
import type { Issuer } from '@sallyport/verify'

/** A request that is asked about. */
export interface Question {
  path: string
  method: string
  /** As a `Host` header names it; undefined for one that no route names. */
  host: string | undefined
}

/** What becomes of a request, as far as the route file decides that. */
export type Decision =
  | { route: string; rule: string; access: string; upstreams: string[]; websocket: boolean }
  | { status: number; code: string; reason: string }

/** A host that no route can name. */
const otherHost = ''

/**
 * Reads a route file as a gateway does, without the gateway: nothing is connected to.
 *
 * @throws ConfigurationError naming the file, the route and what to fix
 */
export function explainRoutes(file: string, environment: Record<string, string | undefined>) {
  const unset = new Set<string>()
  const { JWT_ISSUER: own } = environment
  const upstreams = { at: (origin: string) => ({ origin }) as Upstream }
  const issuers = { own: own ? issuerNamed(own) : undefined, at: ({ issuer }: IssuerEntry) => issuerNamed(issuer) }
  const workers = Number(environment.GATEWAY_WORKERS ?? 1)
  const read = readRouteFile(file, environment, { upstreams, issuers, forwardAuth: true, workers }, unset)
  const { lookup } = read
  const named = (some: Route[]) => some.map(({ name }) => name)
  const { routes } = lookup
  const shadows = shadowsOf(lookup)
  return {
    lookup,
    report: {
      file,
      routes: routes.map((route) => ({
        name: route.name,
        prefix: route.prefix,
        hosts: route.hosts,
        methods: route.methods,
        access: accessOf(route),
        upstreams: route.upstreams.map(({ origin }) => origin),
        rewrite: rewriteOf(route),
      })),
      /** Open to everyone: without a look at tokens, and with whoever sends one known. */
      public: named(routes.filter(({ access }) => access === 'public')),
      optional: named(routes.filter(({ access }) => access === 'optional')),
      serviceAccounts: named(routes.filter(({ access, callers }) => access !== 'public' && callers.includes('client'))),
      webSockets: named(routes.filter(({ websocket }) => websocket)),
      warnings: shadows.map(({ warning }) => warning),
      /** Taken from each of several issuers, at which two users may have one id. */
      severalIssuers: named(
        routes.filter((route) => takenBy(route, [...read.issuers.keys(), ...(own ? [own] : [])]) > 1),
      ),
      /** Variables that upstreams name, and that are not set here. */
      unset: [...unset],
    },
  }
}

/** As much of an issuer as a file is read by. */
const issuerNamed = (name: string) => ({ name }) as Issuer<KeyObject>

/** What an upstream gets in place of the prefix; undefined if that stays. */
function rewriteOf({ prefix, upstreamPath }: Route): string | undefined {
  const sent = upstreamPath(prefix)
  return sent === prefix ? undefined : sent
}

/** Who a route is for: the kinds of callers, and the keys of the file that say more. */
function accessOf({ access, issuers, callers, roles, scopes, stepUp }: Route): string {
  if (access === 'public') return 'everyone'
  const { acr, maxAge } = (stepUp?.required.body() ?? {}) as { acr?: string; maxAge?: number }
  const needs = [
    callers.map((kind) => (kind === 'user' ? 'people' : 'service accounts')).join(' and '),
    ...(issuers ? [`of ${issuers.join(' or ')}`] : []),
    ...(roles ? [`roles ${roles.join(' or ')}`] : []),
    ...(scopes ? [`scopes ${scopes.join(' and ')}`] : []),
    ...(acr === undefined ? [] : [`acr ${acr}`]),
    ...(maxAge === undefined ? [] : [`maxAge ${maxAge} s`]),
  ].join(', ')
  return access === 'optional' ? `everyone; with a token ${needs}` : needs
}

/** Finds routes that other ones leave nothing to, everywhere or on a host. */
function shadowsOf(lookup: RouteLookup) {
  const hosts = [...new Set(lookup.routes.flatMap((route) => route.hosts ?? []))]
  return lookup.routes.flatMap((route) => {
    const takers = (host: string) =>
      (route.methods ?? methods).map((method) => lookup.match(route.prefix, method, host)).filter(isRoute)
    const reached = (host: string) => takers(host).includes(route)
    const own = route.hosts ?? [otherHost]
    if (!own.some(reached))
      return [{ warning: `no request reaches ${route.name}: ${namesOf(own.flatMap(takers))} take all of its prefix` }]
    return (route.hosts ? own : hosts)
      .filter((host) => !reached(host))
      .map((host) => ({ host, others: takers(host) }))
      .filter(({ others }) => others.some((other) => asksForLess(other, route)))
      .map(({ host, others }) => ({
        warning: `on ${host} ${namesOf(others)} takes the requests of ${route.name}, and asks for less`,
      }))
  })
}

/** How many issuers a route takes tokens of. */
const takenBy = ({ access, issuers }: Route, all: string[]): number =>
  access === 'public' ? 0 : (issuers ?? all).length

const isRoute = (found: Route | NoRoute): found is Route => !(found instanceof NoRoute)
const namesOf = (routes: Route[]) => [...new Set(routes.map(({ name }) => name))].join(', ')

const ranks = { public: 0, optional: 1, authenticated: 2 }

function asksForLess(one: Route, other: Route): boolean {
  return (
    ranks[one.access] < ranks[other.access] ||
    (['roles', 'scopes', 'stepUp'] as const).some((rule) => other[rule] !== undefined && one[rule] === undefined)
  )
}

/** @throws Error for a host that no request can name */
export function decide(lookup: RouteLookup, { path, method, host = otherHost }: Question): Decision {
  if (host !== otherHost && !hostForm.test(host)) throw new Error(`"${host}" is no host of a request`)
  const refuse = (status: number, code: string, reason: string) => ({ status, code, reason })
  if (!isAllowed(method)) return refuse(405, 'METHOD_NOT_ALLOWED', `the gateway takes ${methods.join(', ')} alone`)
  if (isTooLong(path)) return refuse(414, 'PATH_TOO_LONG', 'it has more characters or segments than a path may have')
  const target = normalise(path)
  if (!target) return refuse(400, 'PATH_INVALID', 'the path can be read in more than one way (docs/routes.md, Paths)')
  const found = lookup.match(target.path, method, host)
  if (!(found instanceof NoRoute))
    return {
      route: found.name,
      rule: ruleOf(found, lookup, host),
      access: accessOf(found),
      upstreams: found.upstreams.map(({ origin }) => origin + found.upstreamPath(target.path) + target.query),
      websocket: found.websocket,
    }
  const names = found.routes.map(({ name }) => name).join(', ')
  switch (found.reason) {
    case 'none':
      return refuse(404, 'NOT_FOUND', 'no prefix holds the path')
    case 'internal':
      return refuse(404, 'NOT_FOUND', 'it is never reachable, whatever the file says')
    case 'ambiguous':
      return refuse(
        404,
        'NOT_FOUND',
        `a server that is less exact about names would see a path of another route: ${names}`,
      )
    case 'rewritten':
      return refuse(404, 'NOT_FOUND', `${names} would turn it into a path that is never reachable`)
    case 'method':
      return refuse(405, 'METHOD_NOT_ALLOWED', `${names} take ${found.allowed.join(', ')} alone`)
  }
}

/** Why a route takes a request. */
function ruleOf(route: Route, { routes }: RouteLookup, host: string): string {
  const ofHost = routes.some(({ hosts }) => hosts?.includes(hostOf(host)))
  const among = route.hosts
    ? `of the routes of ${hostOf(host)} it has`
    : ofHost
      ? `no route of ${hostOf(host)} holds the path; of the others it has`
      : 'it has'
  const others = routes.filter(({ prefix, hosts }) => prefix === route.prefix && String(hosts) === String(route.hosts))
  const method = route.methods ? ', and takes the method' : others.length > 1 ? ', and takes the other methods' : ''
  return `${among} the longest prefix that holds the path${method}`
}
