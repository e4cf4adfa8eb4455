import { isIPv4, isIPv6, SocketAddress } from 'node:net'

/** No address has more characters, with a zone, brackets and a port. */
const longest = 100

/** An IPv6 address in brackets or an IPv4 one, and a port that may be hidden (RFC 7239 section 6). */
const node = /^(?:\[([^\]]*)\]|([^:]*))(?::(?:\d{1,5}|_[\w.-]+))?$/

/**
 * The address that an element of `X-Forwarded-For` names: by itself, or as a node of RFC 7239 section 6, quoted or not,
 * with a port or without. An address has one spelling here: no zone, no IPv4 address within an IPv6 one, no zeros that
 * can be left out.
 *
 * @returns undefined for `unknown`, for names that hide an address (`_x`), and for whatever else is none
 */
export function addressOf(element: string): string | undefined {
  if (element.length > longest) return undefined
  const text = element.trim().replace(/^"(.*)"$/, '$1')
  const [, inBrackets, plain = ''] = node.exec(text) ?? []
  if (isIPv4(plain)) return plain
  const six = isIPv6(text) ? text : inBrackets
  return six !== undefined && isIPv6(six) ? spelled(six) : undefined
}

/** The address of a socket, in the same spelling. */
export function peerAddress(address: string): string {
  return isMapped(address) ? address.slice(mapped.length) : address
}

function spelled(six: string): string {
  const [address] = six.split('%', 1) as [string]
  return peerAddress(new SocketAddress({ address, family: 'ipv6' }).address)
}

/** An IPv4 address as a socket for both kinds names it. */
const mapped = '::ffff:'
const isMapped = (address: string) => address.startsWith(mapped) && address.includes('.')
