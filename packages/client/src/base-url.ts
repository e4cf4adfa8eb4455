import { AuthError } from './auth-error.ts'
import { attempt } from './platform.ts'

interface Gateway {
  /** Its address, without a slash at its end. */
  base: string
  send: typeof fetch
}

/** In place of a page's origin where there is no page. No network knows the name (RFC 6761 section 6.4). */
const nowhere = 'http://page.invalid'

/**
 * Where the gateway is, and how to call it. A relative `baseUrl` is for the page. On a server, where the same module is
 * loaded to render it, there is none: the client is there and knows nobody, and a call to the gateway rejects with
 * `BASE_URL_RELATIVE`.
 *
 * @throws TypeError if it is no URL, or not one of http or https
 */
export function findGateway(baseUrl: string, send: typeof fetch): Gateway {
  const url = attempt(() => new URL(baseUrl, globalThis.location?.href))
  const { protocol, origin, pathname } = url ?? new URL(baseUrl, nowhere)
  if (!/^https?:$/.test(protocol))
    throw new TypeError(`baseUrl "${baseUrl}" is not one of http or https, such as https://api.example.com`)
  const base = origin + pathname.replace(/\/+$/, '')
  if (url) return { base, send }
  return {
    base,
    send: async (input, init) => {
      if (new URL(input instanceof Request ? input.url : input).origin !== origin) return send(input, init)
      throw new AuthError(
        'BASE_URL_RELATIVE',
        `baseUrl "${baseUrl}" is relative, and there is no page here: give createAuthClient the gateway's whole address, such as https://api.example.com`,
      )
    },
  }
}

/** Where a call goes: a path is one of the gateway's. */
export const urlOf = (base: string, input: string | URL | Request): URL =>
  new URL(input instanceof Request ? input.url : String(input).replace(/^\/(?!\/)/, `${base}/`), `${base}/`)
