import { bearerProtocol } from '../pipeline/authenticate.ts'

/** A protocol is a token (RFC 6455 section 4.1, RFC 9110 section 5.6.2). */
const token = /^[!#$%&'*+\-.^_`|~\dA-Za-z]+$/

const protocolsOf = (header: string) =>
  header
    .split(',')
    .map((protocol) => protocol.trim())
    .filter((protocol) => protocol !== '')
const carriesToken = (protocol: string) => protocol.startsWith(bearerProtocol)

/** The subprotocols that are the application's own. */
export function withoutToken(offered: string): string {
  return protocolsOf(offered)
    .filter((protocol) => !carriesToken(protocol))
    .join(', ')
}

/**
 * What a client gets whose upstream selects no subprotocol: a browser closes a WebSocket for which it offered some and got
 * none, and it has to offer one where it sends its token as one, though the service may know of none. So that is its own
 * first other one.
 *
 * @returns undefined for a client that sent no token in this way, or that offered nothing else
 */
export function fallbackProtocol(offered: string | undefined): string | undefined {
  const protocols = protocolsOf(offered ?? '')
  if (!protocols.some(carriesToken)) return undefined
  return protocols.find((protocol) => !carriesToken(protocol) && token.test(protocol))
}
