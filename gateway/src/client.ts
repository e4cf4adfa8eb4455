import { isIPv4 } from 'node:net'
import ipaddr from 'ipaddr.js'

/**
 * What stands for a client when requests are counted: its address, or for IPv6 its /64, since one subscriber has all
 * of that to send from. What a trusted proxy names that is no address (`unknown`, or one with a port) stands for itself.
 */
export function clientKey(address: string): string {
  if (isIPv4(address) || !ipaddr.isValid(address)) return address
  const parsed = ipaddr.process(address)
  if (parsed.kind() === 'ipv4') return parsed.toString()
  return ipaddr.IPv6.networkAddressFromCIDR(`${parsed.toString()}/64`).toString()
}
