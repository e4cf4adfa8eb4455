import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'

/** Serves what a test wants until it ends. @returns where */
export async function serve(t: Test, listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** Puts something in the place of what a runtime has, until the test ends. */
export function replaceGlobal(t: Test, name: string, value: unknown): void {
  const before = Object.getOwnPropertyDescriptor(globalThis, name)
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true })
  t.teardown(() => {
    if (before) Object.defineProperty(globalThis, name, before)
    else Reflect.deleteProperty(globalThis, name)
  })
}

/** A clock that stands still until it is put forward, in milliseconds. */
export function stopClock(t: Test): (milliseconds: number) => void {
  const real = Date.now
  let now = real()
  Date.now = () => now
  t.teardown(() => (Date.now = real))
  return (milliseconds) => {
    now += milliseconds
  }
}
