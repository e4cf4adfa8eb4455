import { randomUUID } from 'node:crypto'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { Identity } from '@sallyport/identity'
import { Problem, unavailable } from '@sallyport/verify'
import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify'
import FindMyWay, { type HTTPMethod } from 'find-my-way'
import { isLogged } from './log-sample.ts'
import { toProblem } from './problem.ts'
import { observeRequest } from './request-durations.ts'
import { compileSerializer, createValidatorCompiler, type Formats } from './validation.ts'

export type Application = ReturnType<typeof createApplication>

interface ApplicationOptions {
  logger: FastifyBaseLogger
  production: boolean
  /** Addresses or CIDR ranges whose X-Forwarded-For is believed. */
  trustedProxies: string[]
  /** The largest body, in bytes. */
  bodyLimit: number
  /** Distinguishes an error that means "cannot serve just now" (503) from a fault of ours (500). */
  isOutage?: (error: unknown) => boolean
  /** Formats that the service's schemas name beside `uuid` and `date-time`. */
  formats?: Formats
}

/** The most characters a part of a path may have that a route takes as a parameter: the longest id of a passkey has so many. */
const maxParamLength = 1_364

/**
 * A Fastify application as every service of ours starts out: JSON bodies only, validated without coercion and
 * stripped of what the schema does not name, problem details for every error, security headers on every response, and its
 * time counted by route.
 */
export function createApplication(options: ApplicationOptions) {
  const headers = securityHeaders(options.production)
  const app: FastifyInstance = Fastify({
    loggerInstance: options.logger,
    logController: new LogController({ disableRequestLogging: true }),
    trustProxy: options.trustedProxies.length > 0 ? options.trustedProxies : false,
    // A request on a connection that is still open is served until the process ends.
    return503OnClosing: false,
    bodyLimit: options.bodyLimit,
    genReqId: (request) => request.headers['x-request-id']?.toString().slice(0, 64) ?? randomUUID(),
    routerOptions: { maxParamLength },
    // A path that cannot be read never reaches the hooks.
    frameworkErrors: (error, request, reply) => respondWithProblem(error, request, reply.headers(headers)),
  })
  app.setValidatorCompiler(createValidatorCompiler(options.formats))
  app.setSerializerCompiler(compileSerializer)
  app.removeContentTypeParser('text/plain')
  // Clients announce JSON on requests without a body; that is no fault. Where a body is needed, the schema misses it.
  const parseJson = app.getDefaultJsonParser('error', 'error')
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) =>
    body === '' ? done(null) : parseJson(request, body as string, done),
  )
  const notFound = findMethods(app)
  app.addHook('onRequest', (_request, reply, done) => {
    reply.headers(headers)
    done()
  })
  // Before the body is read: whatever it is, nothing here takes it.
  app.addHook('preParsing', (request, _reply, _body, done) => {
    done(request.is404 ? notFound(request) : null)
  })
  app.addHook('onResponse', ({ routeOptions, method }, { statusCode, elapsedTime }, done) => {
    observeRequest(routeOptions.url, method, statusCode, elapsedTime / 1000)
    done()
  })
  app.setErrorHandler((error, request, reply) =>
    respondWithProblem(options.isOutage?.(error) ? unavailable(error) : error, request, reply),
  )
  app.setNotFoundHandler((request) => {
    throw notFound(request)
  })
  return app.withTypeProvider<TypeBoxTypeProvider>()
}

interface Failed {
  id: string
  method: string
  url: string
  ip: string
  /** Who is calling, once that is known. */
  identity?: Identity | undefined
}

/** The most lines a second for one code: of requests that were rejected, and of those that failed here or upstream. */
const mostRefusals = 10
const mostFailures = 100

/** An error as the problem that its caller receives; its cause is logged, unless there is a flood of it. */
export function noteProblem(
  error: unknown,
  request: Failed,
  log: Pick<FastifyBaseLogger, 'error' | 'warn' | 'info'>,
): Problem {
  const problem = toProblem(error)
  if (!isLogged(problem.code, problem.statusCode >= 500 ? mostFailures : mostRefusals, log)) return problem
  const { act, clientId: client } = request.identity ?? {}
  const line = {
    event: 'request_failed',
    req: request,
    ip: request.ip,
    ...{ client, act },
    status: problem.statusCode,
    code: problem.code,
  }
  // Without a cause, the code says it all.
  if (problem.statusCode >= 500) log.error({ ...line, err: problem.cause }, problem.message)
  else log.info({ ...line, why: reasonOf(problem.cause) }, problem.message)
  return problem
}

/** Responds to an error with problem details. */
export function respondWithProblem(error: unknown, request: FastifyRequest, reply: FastifyReply) {
  return sendProblem(noteProblem(error, request, request.server.log), reply)
}

export function sendProblem(problem: Problem, reply: FastifyReply) {
  return reply
    .code(problem.statusCode)
    .headers(problem.headers)
    .type('application/problem+json')
    .serializer(JSON.stringify)
    .send(problem.body())
}

/** Why a request was rejected, in a word for the log. */
function reasonOf(cause: unknown): string | undefined {
  return cause instanceof Error ? cause.message : cause === undefined ? undefined : String(cause)
}

/** Collects the methods that routes have at a path, for the 405 that HTTP asks for (RFC 9110 section 15.5.6). */
function findMethods(app: FastifyInstance): (request: FastifyRequest) => Problem {
  const router = FindMyWay({ maxParamLength })
  const methods = new Set<HTTPMethod>()
  app.addHook('onRoute', (route) => {
    for (const method of [route.method].flat() as HTTPMethod[]) {
      methods.add(method)
      if (!router.hasRoute(method, route.url)) router.on(method, route.url, () => {})
    }
  })
  return ({ url, method }) => {
    const path = url.split('?', 1)[0] as string
    const allow = [...methods].filter((method) => router.find(method, path))
    // Where the method is allowed, a route took the request and found nothing.
    if (allow.length === 0 || allow.includes(method as HTTPMethod))
      return new Problem(404, 'NOT_FOUND', 'There is nothing here')
    return new Problem(405, 'METHOD_NOT_ALLOWED', 'The method is not allowed here', {
      headers: { allow: allow.join(', ') },
    })
  }
}

/** Headers that any response may carry; a route that knows better (a cacheable key set, a page) overrides them. */
export function securityHeaders(production: boolean): Record<string, string> {
  return {
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-store',
    'referrer-policy': 'no-referrer',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    'cross-origin-resource-policy': 'same-site',
    ...(production ? { 'strict-transport-security': 'max-age=63072000; includeSubDomains' } : {}),
  }
}
