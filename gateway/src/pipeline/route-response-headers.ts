import { hopByHop } from '../proxy/hop-by-hop.ts'

/** RFC 9110 sections 5.6.2 and 5.5, without what is not ASCII, which readers take for different texts. */
const token = /^[!#$%&'*+\-.^_`|~\dA-Za-z]+$/
const value = /^[\x21-\x7e]([\t\x20-\x7e]*[\x21-\x7e])?$/

/** What is true of one response alone, and only who makes that knows it; or what the gateway decides itself. */
const notOfRoutes =
  /^(content-(length|encoding|range|type)|age|date|etag|last-modified|set-cookie|access-control-.*|x-request-id|(x-)?ratelimit(-.*)?|retry-after)$/

/**
 * The response headers of a route.
 *
 * @returns names in lower case and values in a flat list
 */
export function readResponseHeaders(written: Record<string, string>, refuse: (why: string) => Error): string[] {
  const headers = new Map<string, string>()
  for (const [sent, said] of Object.entries(written)) {
    const name = sent.toLowerCase()
    if (!token.test(name)) throw refuse(`the response header "${sent}" has a character that no name may have`)
    if (hopByHop.has(name) || notOfRoutes.test(name))
      throw refuse(`the response header ${sent} is not for a route to say; leave it out (docs/routes.md)`)
    if (headers.has(name)) throw refuse(`the response header ${sent} is there twice; keep one`)
    if (!value.test(said))
      throw refuse(`the response header ${sent} needs a value of visible ASCII characters, and spaces within it`)
    headers.set(name, said)
  }
  return [...headers].flat()
}
