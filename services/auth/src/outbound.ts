import http, { type IncomingMessage } from 'node:http'
import https from 'node:https'
import { RequestFilteringHttpsAgent } from 'request-filtering-agent'

interface OutboundRequest {
  method?: 'GET' | 'POST'
  headers: Record<string, string>
  body?: string
  /** Ends it, also while the response is being read. */
  signal: AbortSignal
}

/** Requests to addresses that a client gave. */
export interface Outbound {
  /** Whether an address is one over https, or of an origin inside that is allowed, and has no password in it. */
  allows(url: string): boolean
  /**
   * @returns the response as soon as it begins; a redirect is one too, and is not followed
   * @throws Error if the address is not allowed, or is one inside whatever its name says at the moment of connecting
   */
  request(url: string, request: OutboundRequest): Promise<IncomingMessage>
}

/**
 * Connects to no address inside (loopback, private, link-local, reserved).
 *
 * @param insideOrigins to which it does all the same, also over http
 * @param setting that lists them
 */
export function createOutbound(insideOrigins: string[], setting: string): Outbound {
  const agent = new RequestFilteringHttpsAgent({ keepAlive: false })
  const isInside = (url: string) => insideOrigins.includes(new URL(url).origin)

  function allows(url: string): boolean {
    if (!URL.canParse(url)) return false
    const { protocol, username, password } = new URL(url)
    return (protocol === 'https:' || (protocol === 'http:' && isInside(url))) && !username && !password
  }

  return {
    allows,
    request: (url, { method = 'GET', headers, body, signal }) =>
      new Promise((resolve, reject) => {
        if (!allows(url)) throw new Error('requests go out over https, to an address without a password')
        const { request: begin } = new URL(url).protocol === 'https:' ? https : http
        const options = { method, headers, signal, ...(!isInside(url) && { agent }) }
        begin(url, options, resolve)
          .on('error', (error) =>
            reject(
              isOfAgent(error)
                ? new Error(`its address is one inside, which ${setting} of the auth service would have to allow`)
                : error,
            ),
          )
          .end(body)
      }),
  }
}

/** What the agent refuses in words of its own, with the address that a name stands for. */
const isOfAgent = ({ message }: Error) => message.startsWith('DNS lookup ')
