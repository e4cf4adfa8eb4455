import { type Application, ConfigurationError } from '@sallyport/chassis'
import { problemSchema } from '@sallyport/chassis/problem-schema'
import type { Guard } from '@sallyport/identity/fastify'
import type { FastifySchema } from 'fastify'
import Type, { type TSchema } from 'typebox'

declare module 'fastify' {
  interface FastifySchema {
    /**
     * The codes that the route responds with, by status, beside those that follow from what it takes (`problemsOf`).
     */
    problems?: Problems
    /** What an endpoint of OAuth takes as a form; its errors are those of RFC 6749. */
    form?: TSchema
  }
}

type Problems = Record<number, string[]>

/** What a route needs of its caller, by the guard that it has. */
interface Guards {
  signedIn: Guard[]
  withRole: Guard[]
  /** Those of them that refuse who acts for somebody. */
  own: Guard[]
}

/** The routes' tags, in the order in which they are shown. */
const tags = [
  { name: 'session', description: 'Signing in, staying signed in, signing out' },
  { name: 'account', description: 'What signed-in users see and change of their own' },
  { name: 'factors', description: 'What a user proves to be themselves with, beside a password' },
  { name: 'directory', description: 'Names of users, for services and those who may look them up' },
  { name: 'administration', description: 'Users, for admins' },
  { name: 'service accounts', description: 'Machines that call as themselves, for admins' },
  { name: 'webhooks', description: 'Where others are notified of what happens, for admins' },
  { name: 'oauth', description: 'Tokens of service accounts' },
  { name: 'keys', description: 'What access tokens are verified with' },
]

/**
 * Describes the routes that follow as OpenAPI 3.1, and serves that at /docs/json and as a page at /docs. What a route
 * asks of its caller comes from its guard, and the codes from its schema, so that neither is said twice.
 *
 * For development: the packages behind it are not installed in production. The page sends the requests that it
 * describes, with an access token that one gives it, at the gateway: we ourselves believe identity headers, and no
 * token.
 *
 * @param gateway the origin of the gateway, where CORS_ORIGINS has to list ours; by default the one that the page was
 *   loaded from, for those who let a gateway lead to it
 */
export async function serveDocs(app: Application, guards: Guards, gateway?: string): Promise<void> {
  const [{ default: swagger }, { default: swaggerUi }] = await importPackages()
  app.addSchema(problemSchema)
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Sallyport: the auth API',
        version: '1',
        description:
          'Sign-in, sessions and users, as they are at the gateway. Errors are problem details (RFC 9457) with a stable `code`. The gateway responds to some requests itself, with codes that any request can get; docs/api.md lists them all.',
      },
      servers: [{ url: gateway ?? '/', description: 'the gateway' }],
      tags,
      components: {
        securitySchemes: {
          accessToken: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
          serviceAccount: {
            type: 'http',
            scheme: 'basic',
            description: 'The id of a service account and a secret of it; or `client_assertion` in the body instead',
          },
          refreshCookie: {
            type: 'apiKey',
            in: 'cookie',
            name: 'refreshToken',
            description: '`__Host-refreshToken` in production',
          },
        },
      },
    },
    refResolver: { buildLocalReference: (json) => String(json.$id) },
    transform: ({ schema, url, route }) => {
      const needs = [route.preHandler].flat()[0] as Guard | undefined
      const isAmong = (some: Guard[]) => some.includes(needs as Guard)
      const isSignedIn = isAmong(guards.signedIn) || isAmong(guards.withRole)
      const { problems, form, ...described } = schema as FastifySchema
      if (form) return { url, schema: describeForm(form, described) }
      const everyProblem = [
        problems ?? {},
        problemsOf(described),
        isSignedIn ? signedInProblems : {},
        isAmong(guards.withRole) ? { 403: ['ROLE_REQUIRED'] } : {},
        isAmong(guards.own) ? { 403: ['ACTOR_REFUSED'] } : {},
      ]
      return {
        url,
        schema: {
          ...described,
          ...(isSignedIn ? { security: [{ accessToken: [] }] } : {}),
          response: { ...(described.response as object), ...responses(everyProblem) },
        },
      }
    },
  })
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    staticCSP: `default-src 'self'; connect-src 'self' ${gateway ?? ''}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
    // With the refresh cookie, which the gateway sets at a login of the page's.
    uiConfig: { layout: 'BaseLayout', withCredentials: true },
  })
}

/** Whoever has not installed them has most likely forgotten to say that this is production, so nothing is served. */
function importPackages() {
  return Promise.all([import('@fastify/swagger'), import('@fastify/swagger-ui')]).catch((cause) => {
    throw new ConfigurationError(
      'NODE_ENV is not production, and /docs needs packages that are not there; set NODE_ENV=production, or `npm install @fastify/swagger @fastify/swagger-ui` to develop',
      { cause },
    )
  })
}

/** RFC 6749 sections 2.3 and 5.2. */
function describeForm(form: TSchema, described: FastifySchema): FastifySchema {
  const error = Type.Object({ error: Type.String(), error_description: Type.String() })
  return {
    ...described,
    consumes: ['application/x-www-form-urlencoded'],
    body: form,
    security: [{ serviceAccount: [] }, {}],
    response: {
      ...(described.response as object),
      400: { ...error, description: 'What is wrong with the request, as RFC 6749 names it' },
      401: { ...error, description: 'invalid_client' },
      429: { ...error, description: 'temporarily_unavailable: too many requests' },
      503: { ...error, description: 'temporarily_unavailable' },
    },
  }
}

/** Of the gateway and of our guards. */
const signedInProblems = {
  401: ['TOKEN_MISSING', 'TOKEN_INVALID', 'TOKEN_EXPIRED', 'TOKEN_STALE', 'SESSION_ENDED'],
  403: ['CALLER_REFUSED'],
}

/** The codes that follow from what a route takes; each route can fail, and has a limit at the gateway at least. */
function problemsOf({ body, params, querystring, headers }: FastifySchema): Problems {
  return {
    ...(body || params || querystring || headers
      ? { 400: ['REQUEST_INVALID', ...(body ? ['BODY_MALFORMED'] : [])] }
      : {}),
    ...(body ? { 413: ['BODY_TOO_LARGE'], 415: ['MEDIA_TYPE_UNSUPPORTED'] } : {}),
    ...(params ? { 414: ['PATH_INVALID'] } : {}),
    429: ['RATE_LIMITED'],
    500: ['INTERNAL'],
    503: ['UNAVAILABLE'],
  }
}

function responses(parts: Problems[]): Record<string, object> {
  const statuses = [...new Set(parts.flatMap((problems) => Object.keys(problems)))]
  return Object.fromEntries(
    statuses.map((status) => {
      const codes = parts.flatMap((problems) => problems[Number(status)] ?? [])
      const schema = {
        allOf: [{ $ref: 'Problem#' }, { type: 'object', properties: { code: { type: 'string', enum: codes } } }],
      }
      return [status, { description: codes.join(', '), content: { 'application/problem+json': { schema } } }]
    }),
  )
}
