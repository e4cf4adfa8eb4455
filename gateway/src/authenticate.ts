import { Problem } from '@sallyport/chassis'
import type { FastifyRequest } from 'fastify'
import { bearerProtocol } from './upgrade.ts'
import { badToken, type Caller, type Verifier } from './verify.ts'

/**
 * Who is calling, by the access token of the request: in `Authorization` (RFC 6750), or on a WebSocket upgrade as the
 * subprotocol `sallyport.bearer.<token>`, since browsers cannot set headers there. On a public route a token is not
 * even looked at.
 *
 * @returns undefined where no token was sent, or none is wanted
 * @throws 401 TOKEN_INVALID, also for two tokens at once: which of them counts should be nobody's guess
 */
export async function authenticate(request: FastifyRequest, verifier: Verifier): Promise<Caller | undefined> {
  if (request.route.access === 'public') return undefined
  const tokens = [
    ...fromAuthorization(request.raw.rawHeaders),
    ...fromProtocols(request.headers['sec-websocket-protocol']),
  ]
  if (tokens.length > 1) throw refused('More than one access token')
  const [token] = tokens
  if (token === undefined) return undefined
  return verifier.verify(token)
}

function fromAuthorization(rawHeaders: string[]): string[] {
  const tokens: string[] = []
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string
    if (name.length !== 13 || name.toLowerCase() !== 'authorization') continue
    const [, token] = /^bearer +([^ ]+)$/i.exec(rawHeaders[at + 1] as string) ?? []
    if (token === undefined) throw refused('The Authorization header is not a bearer token')
    tokens.push(token)
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

function refused(title: string): Problem {
  return new Problem(401, 'TOKEN_INVALID', title, { headers: badToken })
}
