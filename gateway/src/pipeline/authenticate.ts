import { isApiKeyLike } from '@sallyport/identity'
import { forAudience, readBearer, refused } from '@sallyport/verify'
import type { Caller, Verifier } from './access-token.ts'
import type { ApiKeys } from './api-keys.ts'
import type { RequestContext } from './request-context.ts'

/** The subprotocol that carries an access token, for browsers cannot set headers on an upgrade. */
export const bearerProtocol = 'sallyport.bearer.'

interface Dependencies {
  verifier: Verifier
  apiKeys: ApiKeys
}

/**
 * Who is calling, by the access token or API key of the request, if that is good for this route: in `Authorization` (RFC
 * 6750), or on a WebSocket upgrade as the subprotocol `sallyport.bearer.<token>`, since browsers cannot set headers there.
 * In a URL it would end up in logs and histories, so there it is refused (RFC 6750 section 5.3). On a public route a token
 * is not even looked at.
 *
 * @returns undefined where no token was sent, or none is wanted
 * @throws as the verifier and the API keys; 401 TOKEN_INVALID also for a token for other routes, and for two tokens at once:
 *   which of them counts is ambiguous
 */
export function authenticate(
  context: RequestContext,
  { verifier, apiKeys }: Dependencies,
  isUpgrade: boolean,
): Caller | undefined | Promise<Caller> {
  if (context.route.access === 'public') return undefined
  if (holdsToken(context.target.query)) throw refused('The access token is in the URL; send it in Authorization')
  const tokens = fromAuthorization(context.rawHeaders)
  const protocols = fromProtocols(context.header('sec-websocket-protocol'))
  if (protocols.length > 0 && !isUpgrade)
    throw refused('Only a WebSocket upgrade has its access token as a subprotocol')
  tokens.push(...protocols)
  if (tokens.length > 1) throw refused('More than one access token')
  const [token] = tokens
  if (token === undefined) return undefined
  const caller = isApiKeyLike(token) ? apiKeys.find(token) : verifier.verify(token)
  const { audience } = context.route
  return caller instanceof Promise
    ? caller.then((found) => forAudience(found, audience))
    : forAudience(caller, audience)
}

function fromAuthorization(rawHeaders: string[]): string[] {
  const tokens: string[] = []
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string
    if (name.length !== 13 || name.toLowerCase() !== 'authorization') continue
    tokens.push(readBearer(rawHeaders[at + 1] as string))
  }
  return tokens
}

function fromProtocols(protocols: string | undefined): string[] {
  if (protocols === undefined) return []
  return protocols.split(',').flatMap((protocol) => {
    const name = protocol.trim()
    return name.startsWith(bearerProtocol) ? [name.slice(bearerProtocol.length)] : []
  })
}

/** Whether a query names `access_token` (RFC 6750 section 2.3), in whichever spelling some server reads as that. */
function holdsToken(query: string): boolean {
  if (query === '' || !/%|token/i.test(query)) return false
  return query.split(/[?&;]/).some((field) => {
    const name = decodeAll(field.split('=', 1)[0] as string)
    return /^[^a-z]*access[^a-z0-9]token([^a-z]|$)/i.test(name)
  })
}

/**
 * What is left once nothing can be decoded any more, however often it was encoded. Each character is taken once: what
 * an escape becomes may end another escape, and nothing before that changes.
 *
 * @param encoded ASCII
 */
export function decodeAll(encoded: string): string {
  if (!encoded.includes('%')) return encoded
  const bytes = Buffer.alloc(encoded.length)
  let length = 0
  for (let at = 0; at < encoded.length; at++) {
    bytes[length++] = encoded.charCodeAt(at)
    while (length > 2 && bytes[length - 3] === 0x25) {
      const value = 16 * digitOf(bytes[length - 2] as number) + digitOf(bytes[length - 1] as number)
      if (Number.isNaN(value)) break
      length -= 2
      bytes[length - 1] = value
    }
  }
  return bytes.toString('latin1', 0, length)
}

/** The value of a hexadecimal digit; NaN for any other character. */
function digitOf(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30
  const lower = code | 0x20
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : Number.NaN
}
