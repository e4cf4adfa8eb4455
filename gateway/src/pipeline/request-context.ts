import { normalizeIP } from '@fastify/rate-limit'
import type { Followed } from '@sallyport/chassis'
import type { Caller } from './access-token.ts'
import { addressOf, peerAddress } from './address.ts'
import type { Target } from './path.ts'
import type { Route } from './route-file.ts'

/** What a message says of a request. */
interface Message {
  id: string
  method: string
  /** The request target as it came. */
  url: string
  httpVersion: string
  /** Names as sent and values, in a flat list. */
  rawHeaders: string[]
  /** A header by its name in lower case; one that came more than once as Node joins it. */
  header: Reader
  source: Source
  /** Set while the request is traced. */
  trace: Followed | undefined
}

/** What is known of a request, whichever server read it. */
export class RequestContext {
  readonly id: string
  readonly method: string
  readonly url: string
  readonly httpVersion: string
  readonly rawHeaders: string[]
  readonly header: Reader
  readonly source: Source
  readonly trace: Followed | undefined
  /** By performance.now(). */
  readonly began = performance.now()
  /** Where it goes; undefined until that is known, which is before anything else looks at it. */
  route: Route = undefined as unknown as Route
  target: Target = undefined as unknown as Target
  /** Path and query as the upstream gets them. */
  upstreamTarget = ''
  caller: Caller | undefined = undefined
  /** As a line of the log names who is calling. */
  get identity() {
    return this.caller?.identity
  }
  /** The rate limit that has least left after this request. */
  limit: RateLimitStatus | undefined = undefined
  /** What @fastify/rate-limit asks of a request. */
  readonly ip: string
  readonly routeOptions = {}

  constructor({ id, method, url, httpVersion, rawHeaders, header, source, trace }: Message) {
    this.id = id
    this.method = method
    this.url = url
    this.httpVersion = httpVersion
    this.rawHeaders = rawHeaders
    this.header = header
    this.source = source
    this.ip = source.ip
    this.trace = trace
  }
}

/** How a rate limit stands after a request was counted. */
export interface RateLimitStatus {
  name?: 'client' | 'user'
  max: number
  remaining: number
  ttlInSeconds: number
  isExceeded: boolean
}

/**
 * Whom a known caller counts for. Whoever acts for a user does not count for the user, who could be kept out so; nor does
 * who has the same id at another issuer.
 */
export function callerKeyOf({ identity: { issuer, userId, act } }: Caller): string {
  const subject = issuer === undefined ? userId : `${userId} of ${issuer}`
  return act ? `${subject} by ${act.sub}` : subject
}

/** Whom a request counts for: the user, or an address (of IPv6 the /64 that one subscriber has). */
export function clientKeyOf({ caller, ip }: RequestContext): string {
  if (caller) return callerKeyOf(caller)
  return ip.includes(':') ? normalizeIP(ip) : ip
}

/** Where a request comes from, as far as our peer and the proxies that we trust tell. */
export interface Source {
  /** The address of the client. */
  ip: string
  /** The addresses it came by: the client first, our own peer last. */
  way: string[]
  /** As a proxy has it, it may be no host: the pipeline refuses that, as another one could have other rules. */
  host: string
  protocol: string
}

type Reader = (name: string) => string | undefined

/** Whether an address is that of a proxy whose `X-Forwarded-*` is believed. */
export type IsTrusted = (address: string) => boolean

/** The most proxies in a row whose word is followed. */
const mostProxies = 32

/**
 * Finds where a request comes from. What `X-Forwarded-*` says counts only as far as trusted proxies wrote it: a request
 * for which a proxy names no address is the proxy's own.
 *
 * @param peer the address at the other end of the connection; undefined if that is gone already
 */
export function sourceOf(peer: string | undefined, header: Reader, isTrusted: IsTrusted): Source {
  const nearest = peerAddress(peer ?? '')
  const host = header('host') ?? ''
  if (!isTrusted(nearest)) return { ip: nearest, way: [nearest], host, protocol: 'http' }
  const way = wayOf(nearest, header('x-forwarded-for') ?? '', isTrusted)
  return {
    ip: way[0] as string,
    way,
    host: lastOf(header('x-forwarded-host')) || host,
    protocol: lastOf(header('x-forwarded-proto'))?.toLowerCase() === 'https' ? 'https' : 'http',
  }
}

/** Follows the list from its end, where the nearest proxy wrote, for as long as who wrote an element is trusted. */
function wayOf(peer: string, list: string, isTrusted: IsTrusted): string[] {
  const way = [peer]
  let writer = peer
  for (let end = list.length; end > 0 && way.length <= mostProxies && isTrusted(writer); ) {
    const comma = list.lastIndexOf(',', end - 1)
    const address = addressOf(list.slice(comma + 1, end))
    if (address === undefined) break
    way.push(address)
    writer = address
    end = comma
  }
  return way.reverse()
}

/** What the nearest proxy said, if several wrote one after the other. */
function lastOf(list: string | undefined): string | undefined {
  return list ? list.slice(list.lastIndexOf(',') + 1).trim() : undefined
}
