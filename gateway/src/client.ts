import ipaddr from 'ipaddr.js'

/**
 * What stands for a client when requests are counted: its address, or for IPv6 its /64, since one subscriber has all
 * of that to send from.
 */
export function clientKey(address: string): string {
  const parsed = ipaddr.process(address)
  if (parsed.kind() === 'ipv4') return parsed.toString()
  return ipaddr.IPv6.networkAddressFromCIDR(`${parsed.toString()}/64`).toString()
}
