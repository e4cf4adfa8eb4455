/**
 * What the page may do: run its own scripts and styles, none of them inline, and send requests to the gateway. Whatever
 * else an injected piece of markup might want, the browser refuses, and no string becomes markup or script (Trusted
 * Types).
 *
 * @param gateway the origin of the gateway; undefined if it is the page's own
 */
export function pageHeaders(gateway: string | undefined): Record<string, string> {
  const connectable = gateway === undefined ? "'self'" : `'self' ${gateway} ${gateway.replace(/^http/, 'ws')}`
  const policy = {
    'default-src': "'none'",
    'script-src': "'self'",
    'style-src': "'self'",
    'font-src': "'self'",
    // The QR code of an authenticator app comes in a response. As an image it runs nothing.
    'img-src': "'self' data:",
    'connect-src': connectable,
    'base-uri': "'none'",
    'form-action': "'none'",
    'frame-ancestors': "'none'",
    'require-trusted-types-for': "'script'",
    'trusted-types': "'none'",
  }
  return {
    'content-security-policy': Object.entries(policy)
      .map((directive) => directive.join(' '))
      .join('; '),
    'cross-origin-opener-policy': 'same-origin',
    'permissions-policy': 'camera=(), geolocation=(), microphone=()',
  }
}
