import { methods } from './methods.ts'
import { fold, isInternal } from './path.ts'
import type { Route } from './route-file.ts'
import { hostOf } from './route-host.ts'

/**
 * Why no route takes a request:
 * - `none`: no prefix holds the path
 * - `internal`: the path is never reachable, as it is or as a server that is less exact about names reads it
 * - `ambiguous`: such a server would see the path of another route than the one it is matched by
 * - `rewritten`: the path would be never reachable as the upstream gets it
 * - `method`: the routes of the prefix take other methods, which are `allowed`
 */
export class NoRoute {
  readonly reason: 'none' | 'internal' | 'ambiguous' | 'rewritten' | 'method'
  /** The routes that would have to do with it. */
  readonly routes: readonly Route[]
  readonly allowed: readonly string[]

  constructor(reason: NoRoute['reason'], routes: readonly Route[] = [], allowed: readonly string[] = []) {
    this.reason = reason
    this.routes = routes
    this.allowed = allowed
  }
}

export interface RouteLookup {
  readonly routes: readonly Route[]
  /**
   * Looks at the routes that name the host, and at those that name none only if no prefix of the former holds the path,
   * to whichever server. Of these the longest prefix decides, then the method.
   *
   * @param path normalised
   * @param host of the request, with a port or without
   */
  match(path: string, method: string, host: string): Route | NoRoute
}

const none = new NoRoute('none')
const internal = new NoRoute('internal')

/** @param refuse makes an error of why a request would have two routes */
export function createRouteLookup(routes: readonly Route[], refuse: (why: string) => Error): RouteLookup {
  const ofAnyHost = new PrefixTable()
  const byHost = new Map<string, PrefixTable>()
  for (const route of routes) {
    if (!route.hosts) ofAnyHost.add(route, refuse)
    for (const host of route.hosts ?? []) {
      const table = byHost.get(host) ?? new PrefixTable()
      byHost.set(host, table)
      table.add(route, refuse)
    }
  }

  function find(path: string, folded: string, host: string): RouteGroup | NoRoute | undefined {
    if (byHost.size === 0) return ofAnyHost.find(path, folded)
    // Most clients write a host as it is in the table.
    const ofHost = byHost.get(host) ?? byHost.get(hostOf(host))
    return ofHost?.find(path, folded) ?? ofAnyHost.find(path, folded)
  }

  return {
    routes,
    match(path, method, host) {
      const folded = fold(path)
      if (isInternal(folded)) return internal
      const group = find(path, folded, host) ?? none
      if (group instanceof NoRoute) return group
      const route = group.routeOf(method)
      if (!route) return new NoRoute('method', group.routes, group.allowed)
      const sent = route.upstreamPath(path)
      if (sent !== path && isInternal(fold(sent))) return new NoRoute('rewritten', [route])
      return route
    },
  }
}

/** The routes that share a prefix, on the same host. */
class RouteGroup {
  readonly routes: Route[] = []
  readonly #byMethod = new Map<string, Route>()
  /** The route that names no methods takes the rest. */
  #rest: Route | undefined

  add(route: Route, refuse: (why: string) => Error): void {
    const [first] = this.routes
    if (first && first.prefix !== route.prefix)
      throw refuse(`routes ${first.name} and ${route.name} are the same to some servers; keep one`)
    this.routes.push(route)
    if (!route.methods) {
      if (this.#rest) throw refuse(overlap(this.#rest, route, 'every method that no other one names'))
      this.#rest = route
    }
    for (const method of route.methods ?? []) {
      const other = this.#byMethod.get(method)
      if (other) throw refuse(overlap(other, route, method === 'HEAD' ? 'HEAD, which goes with GET' : method))
      this.#byMethod.set(method, route)
    }
  }

  routeOf(method: string): Route | undefined {
    return this.#byMethod.get(method) ?? this.#rest
  }

  get allowed(): string[] {
    return methods.filter((method) => this.routeOf(method))
  }
}

function overlap(one: Route, other: Route, what: string): string {
  return one.name === other.name
    ? `route ${one.name} is there twice; keep one`
    : `routes ${one.name} and ${other.name} both take ${what}; leave it to one of them`
}

/** The routes of one host, or those of any, by prefix. */
class PrefixTable {
  readonly #exact = new Map<string, RouteGroup>()
  /** The same by folded prefixes. */
  readonly #folded = new Map<string, RouteGroup>()
  /** Whether folding changes none of the prefixes. */
  #isFolded = true
  /** Characters of the longest prefix, folded or not. */
  #longest = 0

  add(route: Route, refuse: (why: string) => Error): void {
    const { prefix } = route
    const folded = fold(prefix)
    const group = this.#folded.get(folded) ?? new RouteGroup()
    group.add(route, refuse)
    this.#exact.set(prefix, group)
    this.#folded.set(folded, group)
    this.#isFolded &&= folded === prefix
    this.#longest = Math.max(this.#longest, prefix.length, folded.length)
  }

  /** @returns undefined if no prefix holds the path, to whichever server */
  find(path: string, folded: string): RouteGroup | NoRoute | undefined {
    const exact = this.#matchLongest(this.#exact, path)
    if (folded === path && this.#isFolded) return exact
    const toOthers = this.#matchLongest(this.#folded, folded)
    if (exact === toOthers) return exact
    const seen = [exact, toOthers].flatMap((group) => group?.routes ?? [])
    return new NoRoute('ambiguous', seen)
  }

  /**
   * Cuts one segment after another off the end until a prefix fits. It begins where the longest prefix could end: what
   * the search takes is up to the table, not to who sends the path.
   */
  #matchLongest(groups: Map<string, RouteGroup>, path: string): RouteGroup | undefined {
    const longest = this.#longest
    for (let end = path.length > longest ? path.lastIndexOf('/', longest) : path.length; end > 0; ) {
      const group = groups.get(path.slice(0, end))
      if (group) return group
      end = path.lastIndexOf('/', end - 1)
    }
    return groups.get('/')
  }
}
