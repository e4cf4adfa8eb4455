import { type Addresses, type ProxyName, startExample } from '@sallyport/bench/proxies'
import type { Test } from 'tap'
import { temporaryFolder } from './system.ts'

export { isMissing, type ProxyName, proxyNames, readExample } from '@sallyport/bench/proxies'

/** @returns the port at which clients reach it */
export async function startProxy(t: Test, proxy: ProxyName, addresses: Addresses): Promise<number> {
  const { port, stop } = await startExample(proxy, temporaryFolder(t), addresses)
  t.teardown(stop)
  return port
}
