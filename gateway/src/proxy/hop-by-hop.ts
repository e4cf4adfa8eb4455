/** Hop-by-hop headers (RFC 9110 section 7.6.1), and those that the gateway handles itself. */
export const hopByHop = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'expect',
])

/** What a `Connection` header names beside the options that every hop uses, and what another one before it named. */
export function connectionNames(connection: string | undefined, before?: Set<string>): Set<string> | undefined {
  if (connection === undefined || connection === 'keep-alive' || connection === 'close') return before
  const names = before ?? new Set()
  for (const name of connection.toLowerCase().split(',')) names.add(name.trim())
  return names
}
