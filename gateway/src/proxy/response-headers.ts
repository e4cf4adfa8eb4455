import { securityHeaders } from '@sallyport/chassis'
import { lowerCase, memo } from '../http1/header-names.ts'
import { rateLimitHeaders } from '../pipeline/rate-limit.ts'
import type { RequestContext } from '../pipeline/request-context.ts'
import { connectionNames, hopByHop } from './hop-by-hop.ts'

/** What becomes of a header on its way back: hop-by-hop headers, and those that the gateway sets itself, end here. */
const returning = memo((name) =>
  hopByHop.has(name) || name.startsWith('access-control-') || name === 'server' || name === 'x-powered-by' ? '' : name,
)

/** The policy is for responses that are data. On a page, or on a script, it would forbid what that is made to do. */
const isData = /^application\/([\w.-]+\+)?json\b/i

/** What says for how long a response may be kept: of an error, or of what sets a cookie, a route does not know that. */
const caching = /(^|-)cache-control$|^expires$|^surrogate-control$/

/**
 * The headers that a response goes back with: the upstream's, which knows its response best; those of the route that it
 * does not set itself; and of ours those that neither sets. What the upstream names in `Connection` concerns its own
 * headers alone.
 *
 * Our content security policy goes on JSON and on what has no type, which is all that services here respond with; a page
 * says itself what it may do, or its route does. A 304 stands for a response that the client has: of what its route says
 * only for how long it may be kept is said anew, since what the client has may have come with headers of its upstream's.
 *
 * @param received as they were sent, names and values in a flat list
 * @param own names in lower case and values in a flat list
 * @param ofRoute the same
 */
export function responseHeaders(
  received: string[],
  own: string[],
  status = 200,
  ofRoute: readonly string[] = [],
): string[] {
  let headers: string[] = []
  let named: Set<string> | undefined
  let needsPolicy = status !== 304
  let mayBeKept = status < 400
  for (let at = 0; at < received.length; at += 2) {
    const sent = received[at] as string
    const name = returning(sent)
    const value = received[at + 1] as string
    if (name === '') {
      if (lowerCase(sent) === 'connection') named = connectionNames(value, named)
      continue
    }
    if (name === 'content-type') needsPolicy &&= isData.test(value)
    else if (name === 'set-cookie') mayBeKept = false
    headers.push(name, value)
  }
  if (named) headers = without(named, headers)
  const upstreams = headers.length
  for (let at = 0; at < ofRoute.length; at += 2) {
    const name = ofRoute[at] as string
    const applies = caching.test(name) ? mayBeKept : status !== 304
    if (applies && !isNamed(name, headers, upstreams)) headers.push(name, ofRoute[at + 1] as string)
  }
  const others = headers.length
  for (let at = 0; at < own.length; at += 2) {
    const name = own[at] as string
    if (name === 'content-security-policy' && !needsPolicy) continue
    if (status === 304 && isNamed(name, ofRoute, ofRoute.length) && !caching.test(name)) continue
    if (name === 'vary' || !isNamed(name, headers, others)) headers.push(name, own[at + 1] as string)
  }
  return headers
}

/** Whether a name is among the first of a flat list of names and values. */
function isNamed(name: string, headers: readonly string[], length: number): boolean {
  for (let at = 0; at < length; at += 2) if (headers[at] === name) return true
  return false
}

function without(names: Set<string>, headers: string[]): string[] {
  return headers.filter((_, at) => !names.has(headers[at - (at % 2)] as string))
}

interface OwnHeaders {
  production: boolean
  /** The CORS headers of a response, by the `Origin` of the request. */
  cors(origin: string | undefined): string[]
}

/** What the gateway says on every response, beside what the upstream says: names in lower case and values in a flat list. */
export function createOwnHeaders({ production, cors }: OwnHeaders): (context: RequestContext) => string[] {
  const security = Object.entries(securityHeaders(production)).flat()
  return ({ id, limit, header }) =>
    security.concat(['x-request-id', id], rateLimitHeaders(limit), cors(header('origin')))
}
