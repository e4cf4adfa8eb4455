import { canonicalName } from '@sallyport/identity'
import { lowerCase } from '../http1/header-names.ts'
import { isOurs, methodOverride } from '../proxy/request-headers.ts'

/** The request that a proxy asks about. */
export interface Original {
  method: string
  /** The request target as the client sent it. */
  url: string
}

/** A question as it comes, read by whichever server. */
interface Check extends Original {
  /** Names as sent and values, in a flat list. */
  rawHeaders: string[]
}

/** Envoy sets the path of the original request behind it. */
const envoyPrefix = '/ext-authz'

/** Two ways to name the original request in headers: nginx's examples have the one, Traefik and Caddy the other. */
const families = ['x-original-', 'x-forwarded-']
const names = new Set(families.flatMap((family) => [`${family}method`, `${family}uri`]))

/**
 * The request that a check is about. The path says in which form that is asked, so that what a client sends is never
 * taken for the other form:
 *
 *   /forward-auth                  method and target are in `X-Original-Method` and `X-Original-URI`, or in
 *                                  `X-Forwarded-Method` and `X-Forwarded-Uri`
 *   /ext-authz/<path and query>    they are those of the check itself
 *
 * A query behind /forward-auth is none of ours: Caddy leaves the client's there.
 *
 * @returns undefined unless there is one reading: one family of headers, each of them once, and a target that is a path
 */
export function originalOf({ method, url, rawHeaders }: Check): Original | undefined {
  if (url.startsWith(`${envoyPrefix}/`)) return clean({ method, url: url.slice(envoyPrefix.length) })
  if (url.split('?', 1)[0] !== '/forward-auth') return undefined
  const said = new Map<string, string>()
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = lowerCase(rawHeaders[at] as string)
    if (!names.has(name)) continue
    if (said.has(name)) return undefined
    said.set(name, rawHeaders[at + 1] as string)
  }
  if (said.size !== 2) return undefined
  const family = families.find((family) => said.has(`${family}method`) && said.has(`${family}uri`))
  if (!family) return undefined
  return clean({ method: said.get(`${family}method`) as string, url: said.get(`${family}uri`) as string })
}

function clean(original: Original): Original | undefined {
  return /^[A-Z]+$/.test(original.method) && /^\/[\x21-\x7e]*$/.test(original.url) ? original : undefined
}

/**
 * Whether a header has a name that some server reads as that of an identity header, or of another one that the gateway
 * itself would keep from services, though it is not spelled like it: a proxy removes those of the client by their names
 * alone. And whether one names another method than the one that was asked about.
 */
export function hasSecondReading(rawHeaders: string[]): boolean {
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = lowerCase(rawHeaders[at] as string)
    const plain = canonicalName(name)
    if (methodOverride.test(plain) || (plain !== name && isOurs(name))) return true
  }
  return false
}

type Reader = (name: string) => string | undefined

/** Whether the original request asks for a WebSocket. Proxies drop `Upgrade`, which is for one hop, and keep the key. */
export function asksForWebSocket(header: Reader): boolean {
  return header('sec-websocket-key') !== undefined || header('upgrade') !== undefined
}

/**
 * Whether it asks for another protocol: where proxy and service agree on HTTP/2 (`h2c`), requests follow that nobody asks
 * about.
 */
export function asksForAnotherProtocol(header: Reader): boolean {
  return header('http2-settings') !== undefined || !/^websocket$/i.test(header('upgrade') ?? 'websocket')
}

/**
 * Whether the service gets the path that was matched, although a proxy sends it on as it came: `/%61` is `/a` to most
 * services, and not to all.
 *
 * @param path as it was matched
 */
export function isInNormalForm(url: string, path: string): boolean {
  const sent = url.split('?', 1)[0] as string
  return sent === path || sent.replace(/%../g, (encoded) => encoded.toUpperCase()) === path
}
