import type { RequestListener } from 'node:http'
import { type Application, observeRequest, type Problem, securityHeaders } from '@sallyport/chassis'
import type { Passwords } from '../passwords/passwords.ts'
import { loginPath } from './login.ts'
import { countLogin } from './metrics.ts'

/** Milliseconds between two logins that are shed by the route itself, which logs them. */
const logged = 20

/**
 * Sheds a flood of logins before Fastify makes requests of them: beside hashes, which evict everything else from the
 * CPU's caches, that saves a third of what shedding takes from the hashes. The responses are those of the route, which
 * sheds what does not come as a flood, and everything while the process drains.
 */
export function shedLogins(app: Application, passwords: Pick<Passwords, 'requireCapacity'>, production: boolean): void {
  const [handle] = app.server.listeners('request') as [RequestListener]
  const headers = { ...securityHeaders(production), 'content-type': 'application/problem+json' }
  let lastLogged = 0

  function busyNow(): Problem | undefined {
    try {
      passwords.requireCapacity()
    } catch (problem) {
      return problem as Problem
    }
  }

  const respond: RequestListener = (request, response) => {
    const busy = request.url === loginPath && request.method === 'POST' ? busyNow() : undefined
    const now = performance.now()
    if (!busy || now - lastLogged > logged) {
      if (busy) lastLogged = now
      return handle(request, response)
    }
    const body = JSON.stringify(busy.body())
    response.writeHead(busy.statusCode, { ...headers, ...busy.headers, 'content-length': Buffer.byteLength(body) })
    response.end(body)
    countLogin(busy.statusCode)
    observeRequest(loginPath, 'POST', busy.statusCode, (performance.now() - now) / 1000)
  }
  app.server.off('request', handle).on('request', respond)
  app.addHook('preClose', async () => {
    app.server.off('request', respond).on('request', handle)
  })
}
