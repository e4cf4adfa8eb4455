import type { KeyObject } from 'node:crypto'
import { type Logger, openReloadable } from '@sallyport/chassis'
import type { Issuer } from '@sallyport/verify'
import type { Upstreams } from '../proxy/upstreams.ts'
import type { Issuers } from './issuers.ts'
import { readRouteFile } from './route-file.ts'
import type { RouteLookup } from './route-lookup.ts'

export interface RouteTable {
  match: RouteLookup['match']
  /** The issuer of this name whose tokens are taken. */
  findIssuer(name: string): Issuer<KeyObject> | undefined
  /** Of the file that the table is from, to tell whether gateways have the same. */
  readonly digest: string
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
  parts: { upstreams: Upstreams; issuers: Issuers; forwardAuth: boolean; workers?: number },
  logger: Logger,
): RouteTable {
  const { upstreams, issuers } = parts
  // Reading a file opens its upstreams and issuers, also one that turns out to be invalid.
  const closeOthers = () => {
    upstreams.keep(new Set(table.current.lookup.routes.flatMap((route) => route.upstreams)))
    issuers.keep(new Set(table.current.issuers.values()))
  }
  const table = openReloadable([file], () => readRouteFile(file, environment, parts), {
    onReload: ({ lookup }) => {
      logger.info({ event: 'routes_reloaded', routes: lookup.routes.length })
      closeOthers()
    },
    onRefuse: (err) => {
      logger.error({ event: 'routes_refused', err }, 'the route file is invalid; the current table stays in use')
      closeOthers()
    },
  })
  return {
    match: (path, method, host) => table.current.lookup.match(path, method, host),
    findIssuer: (name) => (issuers.own?.name === name ? issuers.own : table.current.issuers.get(name)),
    get digest() {
      return table.current.digest
    },
    reload: table.reload,
    close: table.close,
  }
}
