import { listOrigin, noteRefusedOrigin, Problem } from '@sallyport/chassis'
import type { FastifyRequest, onRequestHookHandler } from 'fastify'

/** Browsers keep the cookie from pages of other sites, listed or not. */
const moveToSite = 'if it is yours, serve it from the site of the gateway (its host, or the same domain)'

/**
 * Guards the requests that use the cookie against pages of other sites (CSRF): browsers name the page's origin, and
 * whether it is ours. A caller that is no browser sends neither header, and has no cookie that it did not keep itself.
 *
 * @param origins that may send requests, beside the one that the request itself goes to
 * @throws 403 ORIGIN_REFUSED
 */
export function requireOwnOrigin(origins: string[]): onRequestHookHandler {
  return (request, _reply, done) => {
    const { origin, 'sec-fetch-site': site } = request.headers
    if (site === 'same-origin') return done()
    // Browsers say `Sec-Fetch-Site` to https and to localhost alone; where they do, it is they who know.
    const isOwn = site === undefined && origin !== undefined && origin === ownOrigin(request)
    if (site === 'cross-site' || (origin !== undefined && !isOwn && !origins.includes(origin))) {
      if (origin !== undefined) noteRefusedOrigin(origin, site === 'cross-site' ? moveToSite : listOrigin, request.log)
      throw new Problem(403, 'ORIGIN_REFUSED', 'This origin may not send this request', {
        detail: 'Only origins listed in CORS_ORIGINS may use the refresh cookie.',
      })
    }
    done()
  }
}

/**
 * The origin that the request went to: scheme, host and port as the gateway saw them, if it is one of TRUSTED_PROXIES.
 *
 * The host is what the browser looked up, which need not be a name that we know. That is no hole: a page at a name that
 * somebody else has pointed to us (DNS rebinding, too) is of the same origin as its requests, but its cookies are that
 * name's, never those of a name that users sign in at. No page chooses the `Host` or `X-Forwarded-Host` of its
 * requests.
 *
 * @returns undefined if it comes from a gateway that we do not trust: `Host` is then our own name, not the one that was
 *   requested
 */
function ownOrigin({ protocol, host, headers }: FastifyRequest): string | undefined {
  if (host !== (headers['x-forwarded-host'] ?? headers.host)) return undefined
  const address = `${protocol}://${host}`
  return /^https?:\/\/[^/?#@\\]+$/.test(address) && URL.canParse(address) ? new URL(address).origin : undefined
}
