import { domainToASCII } from 'node:url'

/** A host name in the characters that a request may name one in (connections/message.ts), in lower case. */
const hostName = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*$/

/** What other tools read as a pattern: wildcards, a leading dot for what is below a domain, regular expressions. */
const pattern = /[*?^$~|\\(){}<>+]|^\./

/**
 * The host of a request as routes name it: in lower case, without its port and without dots at its end, since a name
 * with them is the same host to servers and resolvers.
 */
export function hostOf(authority: string): string {
  const colon = authority.indexOf(':')
  let end = colon === -1 ? authority.length : colon
  while (authority[end - 1] === '.') end -= 1
  return authority.slice(0, end).toLowerCase()
}

/**
 * Reads a host of the route file: as a request would name it, or with letters that are encoded on the way (A-labels).
 *
 * @param toFault makes an error of what is wrong, and of what to write
 */
export function readHost(written: string, toFault: (why: string) => Error): string {
  const refuse = (why: string) => toFault(`the host "${written}" ${why}`)
  if (pattern.test(written)) throw refuse('is a pattern, and a host is compared letter by letter; name each host')
  const scheme = /^[a-z][a-z\d+.-]*:\/\//i.exec(written)?.[0] ?? ''
  const [authority, ...path] = written.slice(scheme.length).split('/') as [string, ...string[]]
  const host = hostOf(/[^\x00-\x7f]/.test(authority) ? domainToASCII(hostOf(authority)) : authority)
  if (!hostName.test(host)) throw refuse('is no host name like api.example.com')
  if (scheme !== '') throw refuse(`has a scheme, which routes do not look at; write ${host}`)
  if (path.length > 0) throw refuse(`has a path, which is for \`prefix\` to say; write ${host}`)
  if (authority.includes(':')) throw refuse(`has a port, which routes do not look at; write ${host}`)
  return host
}
