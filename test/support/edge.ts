import { createPrivateKey, generateKeyPairSync, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { join } from 'node:path'
import { publicJwk } from '@sallyport/identity'
import { endProcesses, type RunningProcess, startProcess } from '@sallyport/local'
import { createSigner } from 'fast-jwt'
import type { Test } from 'tap'
import { openGatewayHere } from './in-process.ts'
import { eventually, temporaryFolder } from './system.ts'

const makeKey = () =>
  generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  })

export async function listen(t: Test, server: Server): Promise<string> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** An issuer of access tokens that is not ours: a key, a key set served over HTTP, and tokens signed by hand. */
export class Issuer {
  readonly privateKey = makeKey().privateKey
  /** Served instead of the key set while set. */
  fault: ((response: ServerResponse) => void) | undefined
  /** How often the key set was requested. */
  fetches = 0
  keys: object[] = [publicJwk(this.privateKey)]

  async serve(t: Test): Promise<string> {
    const server = createServer((_request, response) => {
      this.fetches += 1
      if (this.fault) return this.fault(response)
      response.setHeader('content-type', 'application/json').end(JSON.stringify({ keys: this.keys }))
    })
    return `${await listen(t, server)}/.well-known/jwks.json`
  }

  token(claims: Record<string, unknown> = {}, header: Record<string, unknown> = {}, key = this.privateKey): string {
    const now = Math.floor(Date.now() / 1000)
    const sign = createSigner({
      key: createPrivateKey(key).export({ type: 'pkcs8', format: 'pem' }).toString(),
      algorithm: 'ES256',
      header: { alg: 'ES256', typ: 'at+jwt', kid: publicJwk(key).kid, ...header },
    })
    return sign({
      iss: 'https://issuer.test',
      aud: 'https://api.test',
      sub: 'user-1',
      client_id: 'web',
      iat: now,
      exp: now + 600,
      jti: randomUUID(),
      sid: 'session-1',
      email: 'someone@example.com',
      role: 'doctor',
      roles: ['doctor', 'patient'],
      ...claims,
    })
  }
}

export interface Recorded {
  method: string
  url: string
  rawHeaders: string[]
  headers: IncomingMessage['headers']
  body: string
  trailers: string[]
}

/** A service behind the gateway that records what reaches it. */
export class Upstream {
  readonly requests: Recorded[] = []
  readonly #byTarget = new Map<string, Recorded[]>()
  url = ''
  respond: (request: IncomingMessage, response: ServerResponse, body: string) => void = (_request, response) => {
    response.setHeader('content-type', 'application/json').end('{"ok":true}')
  }

  async serve(t: Test): Promise<this> {
    const server = createServer(async (request, response) => {
      let body = ''
      try {
        for await (const chunk of request) body += chunk
      } catch {
        return
      }
      const { method = '', url = '', rawHeaders, headers } = request
      const recorded = { method, url, rawHeaders, headers, body, trailers: request.rawTrailers }
      this.requests.push(recorded)
      this.#byTarget.set(url, [...this.of(url), recorded])
      this.respond(request, response, body)
    })
    this.url = await listen(t, server)
    return this
  }

  /** The requests with this target. */
  of(target: string): Recorded[] {
    return this.#byTarget.get(target) ?? []
  }

  get last(): Recorded {
    return this.requests.at(-1) as Recorded
  }
}

export interface Edge {
  gateway: string
  port: number
  /** With the setting FORWARD_AUTH_PORT, which tests set to 0. */
  forwardAuthPort?: number | undefined
  log: string[]
  issuer: Issuer
  identityKey: string
  routesFile: string
}

export interface EdgeProcess extends Edge {
  process: RunningProcess
}

/** A route file as a whole; of one with nothing but routes those are enough. */
export interface RouteFile {
  routes: object[]
  issuers: object[]
}

/** A gateway by itself, in the test's own process, in front of whatever the routes name. */
export async function openGateway(
  t: Test,
  routes: object[] | RouteFile,
  settings: Record<string, string> = {},
  issuer = new Issuer(),
  together?: Parameters<typeof openGatewayHere>[2],
): Promise<Edge> {
  const { environment, ...edge } = await prepareEdge(t, routes, settings, issuer)
  const { port, forwardAuthPort, close } = await openGatewayHere(environment, (line) => edge.log.push(line), together)
  t.teardown(close)
  return { ...edge, port, forwardAuthPort, gateway: `http://127.0.0.1:${port}` }
}

/** As openGateway, as a process: for tests of what only a process has or does. */
export async function startGateway(
  t: Test,
  routes: object[],
  settings: Record<string, string> = {},
  issuer = new Issuer(),
): Promise<EdgeProcess> {
  const { environment, ...edge } = await prepareEdge(t, routes, settings, issuer)
  const running = await startProcess('gateway', environment, (line) => edge.log.push(line))
  t.teardown(() => endProcesses([running]))
  const { port } = running
  return { ...edge, port, gateway: `http://127.0.0.1:${port}`, process: running }
}

/** What a gateway is started with, and what is around it. */
export async function prepareEdge(
  t: Test,
  routes: object[] | RouteFile,
  settings: Record<string, string>,
  issuer = new Issuer(),
) {
  const routesFile = join(temporaryFolder(t), 'routes.json')
  writeFileSync(routesFile, JSON.stringify(Array.isArray(routes) ? { routes } : routes))
  const identityKey = makeKey().privateKey
  const log: string[] = []
  const environment = {
    ...process.env,
    GATEWAY_PORT: '0',
    GATEWAY_ROUTES: routesFile,
    JWKS_URL: await issuer.serve(t),
    JWT_ISSUER: 'https://issuer.test',
    JWT_AUDIENCE: 'https://api.test',
    IDENTITY_PRIVATE_KEY: identityKey,
    CORS_ORIGINS: 'https://app.test',
    RATE_LIMIT_MAX: '100000',
    USER_RATE_LIMIT_MAX: '100000',
    ...settings,
  }
  return { environment, log, issuer, identityKey, routesFile }
}

/** Sends bytes as they are, and gives back everything that comes until the other end closes. */
export async function exchange(port: number, bytes: string | Buffer, waitMs = 3_000): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  socket.setTimeout(waitMs, () => socket.destroy())
  socket.on('error', () => {})
  socket.write(bytes)
  let response = ''
  socket.setEncoding('latin1').on('data', (chunk) => {
    response += chunk
  })
  await once(socket, 'close')
  return response
}

/**
 * Sends bytes on one connection, in turns: the next once what has come so far is as expected, or the connection closed.
 *
 * @returns all that came
 */
export async function talk(t: Test, port: number, ...turns: [bytes: string, expected: RegExp][]): Promise<string> {
  const socket = connect(port, '127.0.0.1').setEncoding('latin1')
  t.teardown(() => socket.destroy())
  let heard = ''
  socket.on('data', (chunk) => {
    heard += chunk
  })
  socket.on('error', () => {})
  for (const [bytes, expected] of turns) {
    socket.write(bytes, 'latin1')
    await eventually(`${expected} comes`, () => expected.test(heard) || socket.closed)
  }
  return heard
}

/** Does something with each of many things, a few at a time. */
export async function each<T>(things: Iterable<T>, act: (thing: T) => Promise<void>, atOnce = 16): Promise<void> {
  const rest = things[Symbol.iterator]()
  const work = async () => {
    for (let next = rest.next(); !next.done; next = rest.next()) await act(next.value)
  }
  await Promise.all(Array.from({ length: atOnce }, work))
}
