import { Problem } from '@sallyport/chassis'
import type { onRequestHookHandler } from 'fastify'

/**
 * Guards the calls that use the cookie against pages of other sites (CSRF): browsers name the page's origin, and
 * whether it is ours. A caller that is no browser sends neither header, and has no cookie that it did not keep itself.
 *
 * @throws 403 ORIGIN_REFUSED
 */
export function requireOwnOrigin(origins: string[]): onRequestHookHandler {
  return ({ headers }, _reply, done) => {
    const { origin, 'sec-fetch-site': site } = headers
    if (site === 'same-origin') return done()
    if (site === 'cross-site' || (origin !== undefined && !origins.includes(origin)))
      throw new Problem(403, 'ORIGIN_REFUSED', 'This page may not make this call', {
        detail: 'Only origins listed in CORS_ORIGINS may use the refresh cookie.',
      })
    done()
  }
}
