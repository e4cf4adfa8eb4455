import {
  choice,
  duration,
  durationBetween,
  headerNames,
  origins,
  port,
  positive,
  privateKeys,
  processConfig,
  readSettings,
  redisAddress,
  secrets,
  text,
  webAddress,
} from '@sallyport/chassis'

export type Config = ReturnType<typeof readConfig>

/** @throws ConfigurationError with a line for every setting to fix */
export function readConfig(environment: Record<string, string | undefined>) {
  const settings = readSettings(environment, {
    GATEWAY_PORT: port({ default: 5000, desc: 'a port number (5000 if not set)' }),
    GATEWAY_ROUTES: text({ desc: 'the path of the route table, such as gateway/routes.yaml' }),
    JWKS_URL: webAddress({ desc: 'where the auth service publishes its keys, ending in /.well-known/jwks.json' }),
    // No longer than 5 minutes: so long a new key is published before it may sign (cli/manage-keys.ts).
    JWKS_MAX_AGE: durationBetween(1, 300)({ default: 300, desc: 'how old the keys may grow, from 1s to 5m' }),
    JWT_ISSUER: text({ desc: "the auth service's JWT_ISSUER" }),
    JWT_AUDIENCE: text({ desc: "the auth service's JWT_AUDIENCE" }),
    IDENTITY_PRIVATE_KEY: privateKeys({
      desc: 'PEM of the key that signs x-identity-token; `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` makes one',
    }),
    REVOCATIONS_URL: webAddress({
      default: undefined,
      desc: "the auth service's revocation stream, ending in /internal/revocations",
    }),
    REVOCATIONS_SECRET: secrets(environment)({ default: undefined, desc: "the auth service's REVOCATIONS_SECRET" }),
    REVOCATION_FAIL: choice(
      'open',
      'closed',
    )({
      default: 'open',
      desc: 'open (go on verifying) or closed (respond with 503) while the revocation stream is down',
    }),
    REVOCATION_MAX_AGE: duration({
      default: 30,
      desc: 'with REVOCATION_FAIL=closed, how old the view of ended sessions may be, such as 30s',
    }),
    RATE_LIMIT_MAX: positive({ default: 1000, desc: 'the most requests per client and minute (1000 if not set)' }),
    USER_RATE_LIMIT_MAX: positive({
      default: 1000,
      desc: 'the most requests per user and minute, from whatever addresses (1000 if not set)',
    }),
    REDIS_URL: redisAddress({
      default: undefined,
      desc: 'where gateways count requests together, such as redis://valkey:6379',
    }),
    HTTP1_FAST_PATH: choice(
      'on',
      'off',
    )({
      default: 'on',
      desc: "on (the gateway itself reads and writes ordinary HTTP/1.1) or off (Node's server does)",
    }),
    CONNECTIONS_PER_CLIENT: positive({
      default: 2000,
      desc: 'the most connections of one client address at once (2000 if not set)',
    }),
    BODIES_PER_CLIENT: positive({
      default: 64,
      desc: 'the most request bodies of one client address at once (64 if not set)',
    }),
    // Never 0: to Node's server and to a socket that is no limit.
    HEADERS_TIMEOUT: durationBetween(
      1,
      60,
    )({ default: 5, desc: 'how long the head of a request may take to come, from 1s to 60s' }),
    BODY_TIMEOUT: duration({ default: 10, desc: 'how long a request body may stall, such as 10s' }),
    IDLE_TIMEOUT: duration({
      default: 72,
      desc: 'how long a connection may be idle, such as 72s',
    }),
    UPSTREAM_CONNECTIONS: positive({ default: 256, desc: 'the most connections to an upstream (256 if not set)' }),
    UPSTREAM_CONNECTIONS_PER_CLIENT: positive({
      default: 128,
      desc: 'the most of them for one user, or for one client that is not signed in (128 if not set)',
    }),
    UPSTREAM_QUEUE: positive({
      default: 1_024,
      desc: 'the most requests that wait for a connection to an upstream (1024 if not set)',
    }),
    UPSTREAM_QUEUE_TIMEOUT: duration({ default: 5, desc: 'how long a request waits for a connection, such as 5s' }),
    UPSTREAM_CONNECTION_MAX_AGE: duration({
      default: 60,
      desc: 'how old a connection to an upstream grows before its name is looked up again, such as 60s',
    }),
    STREAMS_PER_USER: positive({
      default: 64,
      desc: 'the most WebSockets and event streams of one user, or of one client that is not signed in (64 if not set)',
    }),
    STREAMS_MAX: positive({ default: 10_000, desc: 'the most WebSockets and event streams in all (10000 if not set)' }),
    CORS_ORIGINS: origins({
      default: [],
      desc: 'origins allowed to send cross-origin requests, such as https://app.example.com',
    }),
    CORS_EXPOSED_HEADERS: headerNames({
      default: ['etag', 'location', 'link', 'content-disposition', 'x-total-count'],
      desc: 'response headers of services that these origins may read, such as etag,x-total-count',
    }),
  })
  return {
    ...processConfig(environment, 'GATEWAY_PORT', settings.GATEWAY_PORT),
    routesFile: settings.GATEWAY_ROUTES,
    keySetUrl: settings.JWKS_URL,
    keySetMaxAge: settings.JWKS_MAX_AGE,
    issuer: settings.JWT_ISSUER,
    audience: settings.JWT_AUDIENCE,
    identityKey: settings.IDENTITY_PRIVATE_KEY[0],
    revocations: {
      url: settings.REVOCATIONS_URL,
      secret: settings.REVOCATIONS_SECRET?.[0],
      failClosed: settings.REVOCATION_FAIL === 'closed',
      maxAge: settings.REVOCATION_MAX_AGE,
    },
    requestsPerMinute: settings.RATE_LIMIT_MAX,
    userRequestsPerMinute: settings.USER_RATE_LIMIT_MAX,
    redisUrl: settings.REDIS_URL,
    fastPath: settings.HTTP1_FAST_PATH === 'on',
    connectionsPerClient: settings.CONNECTIONS_PER_CLIENT,
    bodiesPerClient: settings.BODIES_PER_CLIENT,
    headersTimeout: settings.HEADERS_TIMEOUT,
    bodyTimeout: settings.BODY_TIMEOUT,
    idleTimeout: settings.IDLE_TIMEOUT,
    connections: {
      connections: settings.UPSTREAM_CONNECTIONS,
      perClient: settings.UPSTREAM_CONNECTIONS_PER_CLIENT,
      queue: settings.UPSTREAM_QUEUE,
      queueTimeout: settings.UPSTREAM_QUEUE_TIMEOUT * 1_000,
      maxAge: settings.UPSTREAM_CONNECTION_MAX_AGE * 1_000,
    },
    streams: { perUser: settings.STREAMS_PER_USER, most: settings.STREAMS_MAX },
    origins: settings.CORS_ORIGINS,
    exposedHeaders: settings.CORS_EXPOSED_HEADERS,
  }
}
