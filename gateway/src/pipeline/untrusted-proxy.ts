import proxyAddress from '@fastify/proxy-addr'
import type { Logger } from '@sallyport/chassis'
import type { IsTrusted, RequestContext } from './request-context.ts'

const isPrivate = proxyAddress.compile(['loopback', 'linklocal', 'uniquelocal'])

/** Addresses that are named; clients in a private network must not fill the log. */
const most = 3

/**
 * Says of a private address that sends `X-Forwarded-For` and is not trusted, once, that all who come by it count as one
 * client: it is most likely what terminates TLS in front, of an address that only a running system shows (a container's).
 */
export function createProxyNotice(isTrusted: IsTrusted, logger: Pick<Logger, 'warn'>) {
  const said = new Set<string>()
  return ({ ip, source, header }: Pick<RequestContext, 'ip' | 'source' | 'header'>): void => {
    if (said.size === most || source.way.length > 1 || header('x-forwarded-for') === undefined) return
    if (said.has(ip) || isTrusted(ip) || !isPrivate(ip, 0)) return
    said.add(ip)
    logger.warn({
      event: 'forwarded_for_ignored',
      peer: ip,
      msg: `requests from ${ip} have X-Forwarded-For, which is not believed, so all of them count as one client; if ${ip} is your proxy, set TRUSTED_PROXIES=${ip}`,
    })
  }
}
