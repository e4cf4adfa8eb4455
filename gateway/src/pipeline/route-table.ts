import { type Logger, openReloadable } from '@sallyport/chassis'
import type { Upstreams } from '../proxy/upstreams.ts'
import { fold, isInternal } from './path.ts'
import { type Route, readRoutes } from './route-file.ts'

export interface RouteTable {
  /**
   * The route with the longest prefix that holds the path; undefined also where a server that is less exact about
   * names would see another route's path, or one that is never reachable. So would the upstream's path be.
   */
  match(path: string): Route | undefined
  /** Reads the file again. */
  reload(): void
  close(): void
}

/**
 * Reads the route table from a YAML or JSON file, and again when the file changes. An invalid file later on leaves the
 * table as it is, and the log says why.
 *
 * @throws ConfigurationError when the file is invalid at start
 */
export function openRouteTable(
  file: string,
  environment: Record<string, string | undefined>,
  upstreams: Upstreams,
  logger: Logger,
): RouteTable {
  // Reading a file opens its upstreams, also one that turns out to be invalid.
  const closeOthers = () => {
    upstreams.keep(new Set([...table.current.routes.values()].flatMap((route) => route.upstreams)))
  }
  const table = openReloadable([file], () => toTable(readRoutes(file, environment, upstreams)), {
    onReload: ({ routes }) => {
      logger.info({ event: 'routes_reloaded', routes: routes.size })
      closeOthers()
    },
    onRefuse: (err) => {
      logger.error({ event: 'routes_refused', err }, 'the route file is invalid; the current table stays in use')
      closeOthers()
    },
  })
  return {
    match: (path) => {
      const { routes, folded: byFolded, isFolded, longest } = table.current
      const route = matchLongest(routes, path, longest)
      if (!route) return undefined
      const folded = fold(path)
      if (isInternal(folded)) return undefined
      const sent = route.upstreamPath(path)
      if (sent !== path && isInternal(fold(sent))) return undefined
      if (folded === path && isFolded) return route
      return matchLongest(byFolded, folded, longest) === route ? route : undefined
    },
    reload: table.reload,
    close: table.close,
  }
}

interface Table {
  routes: Map<string, Route>
  /** The same by folded prefixes. */
  folded: Map<string, Route>
  /** Whether folding changes none of the prefixes. */
  isFolded: boolean
  /** Characters of the longest prefix, folded or not. */
  longest: number
}

function toTable(routes: Map<string, Route>): Table {
  const folded = new Map([...routes].map(([prefix, route]) => [fold(prefix), route]))
  return {
    routes,
    folded,
    isFolded: [...folded.keys()].every((prefix) => routes.has(prefix)),
    longest: Math.max(0, ...[...routes.keys(), ...folded.keys()].map((prefix) => prefix.length)),
  }
}

/**
 * Cuts one segment after another off the end until a prefix fits. It begins where the longest prefix could end: what
 * the search takes is up to the table, not to who sends the path.
 */
function matchLongest(table: Map<string, Route>, path: string, longest: number): Route | undefined {
  for (let end = path.length > longest ? path.lastIndexOf('/', longest) : path.length; end > 0; ) {
    const route = table.get(path.slice(0, end))
    if (route) return route
    end = path.lastIndexOf('/', end - 1)
  }
  return table.get('/')
}
