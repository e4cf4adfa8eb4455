import {
  ConfigurationError,
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
  versionOf,
  webAddress,
} from '@sallyport/chassis'

export type Config = ReturnType<typeof readConfig>

/** @throws ConfigurationError with a line for every setting to fix */
export function readConfig(environment: Record<string, string | undefined>) {
  const settings = readSettings(environment, {
    GATEWAY_PORT: port({ default: 5000, desc: 'a port number (5000 if not set)' }),
    FORWARD_AUTH_PORT: port({
      default: undefined,
      desc: 'the port at which other proxies, such as nginx or Traefik, ask whether a request may pass',
    }),
    GATEWAY_ROUTES: text({ desc: 'the path of the route table, such as gateway/routes.yaml' }),
    JWKS_URL: webAddress({
      default: undefined,
      desc: 'where the auth service publishes its keys, ending in /.well-known/jwks.json',
    }),
    // No longer than 5 minutes: so long a new key is published before it may sign (cli/keys-commands.ts).
    JWKS_MAX_AGE: durationBetween(1, 300)({ default: 300, desc: 'how old the keys may grow, from 1s to 5m' }),
    JWT_ISSUER: text({ default: undefined, desc: "the auth service's JWT_ISSUER" }),
    JWT_AUDIENCE: text({ default: undefined, desc: "the auth service's JWT_AUDIENCE" }),
    IDENTITY_PRIVATE_KEY: privateKeys({
      desc: 'PEM of the key that signs x-identity-token; `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` makes one',
    }),
    REVOCATIONS_URL: webAddress({
      default: undefined,
      desc: "the auth service's revocation stream, ending in /internal/revocations",
    }),
    API_KEYS_URL: webAddress({
      default: undefined,
      desc: 'where the auth service takes API keys for access tokens, ending in /internal/api-keys',
    }),
    REPLICAS_URL: webAddress({
      default: undefined,
      desc: 'where the auth service is told that this gateway runs, ending in /internal/replicas',
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
    GATEWAY_WORKERS: positive({
      default: 1,
      desc: 'how many processes serve requests on the one port, such as one for each core (1 if not set)',
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
  const secret = settings.REVOCATIONS_SECRET?.[0]
  const own = ownIssuer(settings)
  for (const name of ['REVOCATIONS_URL', 'API_KEYS_URL', 'REPLICAS_URL'] as const)
    if (settings[name] !== undefined && !own)
      throw new ConfigurationError(
        `${name} is of Sallyport's auth service; set JWT_ISSUER, JWT_AUDIENCE and JWKS_URL too`,
      )
  for (const name of ['API_KEYS_URL', 'REPLICAS_URL'] as const)
    if (settings[name] !== undefined && secret === undefined)
      throw new ConfigurationError(`REVOCATIONS_SECRET is not set; ${name} needs it, the auth service's own`)
  const ofProcess = processConfig(environment, 'GATEWAY_PORT', settings.GATEWAY_PORT)
  if (settings.FORWARD_AUTH_PORT !== undefined && ofProcess.trustedProxies.length === 0)
    throw new ConfigurationError(
      'TRUSTED_PROXIES is not set; FORWARD_AUTH_PORT needs it: the addresses of the proxies that may ask there',
    )
  const { GATEWAY_WORKERS: workers } = settings
  for (const name of ['UPSTREAM_CONNECTIONS', 'UPSTREAM_CONNECTIONS_PER_CLIENT', 'UPSTREAM_QUEUE'] as const)
    if (settings[name] < workers)
      throw new ConfigurationError(
        `${name} is ${settings[name]}, less than GATEWAY_WORKERS (${workers}), which share it; raise the one or lower the other`,
      )
  return {
    ...ofProcess,
    workers,
    forwardAuthPort: settings.FORWARD_AUTH_PORT,
    routesFile: settings.GATEWAY_ROUTES,
    own,
    keySetMaxAge: settings.JWKS_MAX_AGE,
    identityKey: settings.IDENTITY_PRIVATE_KEY[0],
    revocations: {
      url: settings.REVOCATIONS_URL,
      secret,
      failClosed: settings.REVOCATION_FAIL === 'closed',
      maxAge: settings.REVOCATION_MAX_AGE,
    },
    apiKeys: { url: settings.API_KEYS_URL, secret },
    reports: { url: settings.REPLICAS_URL, secret },
    version: versionOf(environment),
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
      // Each worker has its part.
      connections: Math.floor(settings.UPSTREAM_CONNECTIONS / workers),
      perClient: Math.floor(settings.UPSTREAM_CONNECTIONS_PER_CLIENT / workers),
      queue: Math.floor(settings.UPSTREAM_QUEUE / workers),
      queueTimeout: settings.UPSTREAM_QUEUE_TIMEOUT * 1_000,
      maxAge: settings.UPSTREAM_CONNECTION_MAX_AGE * 1_000,
    },
    streams: { perUser: settings.STREAMS_PER_USER, most: settings.STREAMS_MAX },
    origins: settings.CORS_ORIGINS,
    exposedHeaders: settings.CORS_EXPOSED_HEADERS,
  }
}

/** The auth service whose tokens are taken. Without it the route file says whose are. */
function ownIssuer(settings: {
  JWT_ISSUER?: string | undefined
  JWT_AUDIENCE?: string | undefined
  JWKS_URL?: string | undefined
}) {
  const { JWT_ISSUER: issuer, JWT_AUDIENCE: audience, JWKS_URL: jwks } = settings
  if (issuer === undefined && audience === undefined && jwks === undefined) return undefined
  if (issuer !== undefined && audience !== undefined && jwks !== undefined) return { issuer, audience, jwks }
  const missing = Object.entries({ JWT_ISSUER: issuer, JWT_AUDIENCE: audience, JWKS_URL: jwks }).flatMap(
    ([name, value]) => (value === undefined ? [name] : []),
  )
  throw new ConfigurationError(
    missing
      .map((name) => `${name} is not set; JWT_ISSUER, JWT_AUDIENCE and JWKS_URL, the auth service's own, go together`)
      .join('\n'),
  )
}
