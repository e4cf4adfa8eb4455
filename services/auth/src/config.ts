import {
  auditSink,
  ConfigurationError,
  choice,
  databaseSettings,
  domain,
  domains,
  duration,
  durationBetween,
  type Mailbox,
  mailbox,
  origin,
  origins,
  port,
  positive,
  privateKeys,
  processConfig,
  processSettings,
  readSettings,
  readTrust,
  redisAddress,
  roles,
  type SmtpServer,
  safeOrigin,
  secrets,
  smtpServer,
  text,
  versionOf,
} from '@sallyport/chassis'
import { readRelyingParty } from './factors/relying-party.ts'

export type Config = ReturnType<typeof readConfig>

/** @throws ConfigurationError with a line for every setting to correct */
export function readConfig(environment: Record<string, string | undefined>) {
  const settings = readSettings(environment, {
    NODE_ENV: processSettings.NODE_ENV,
    AUTH_PORT: port({ default: 5001, desc: 'a port number (5001 if not set)' }),
    ...databaseSettings,
    DATABASE_CONNECTIONS: positive({ default: 10, desc: 'the most connections to open (10 if not set)' }),
    DATABASE_WAIT: duration({ default: 10, desc: 'how long to wait for the database at start, such as 10s' }),
    JWT_ISSUER: text({ desc: 'the name tokens are issued under, an address such as https://app.example.com' }),
    JWT_AUDIENCE: text({ desc: 'who tokens are for, such as https://api.example.com' }),
    JWT_CLIENT_ID: text({ default: 'web', desc: 'the client_id that tokens carry (web if not set)' }),
    // Shorter than ended sessions are remembered (housekeeping.ts), by what clocks may differ.
    JWT_EXPIRES_IN: durationBetween(
      1,
      82_800,
    )({ default: 900, desc: 'how long an access token is valid, from 1s to 23h' }),
    JWT_PRIVATE_KEY: privateKeys({
      desc: 'PEM of the keys that sign access tokens, the active one first; make one with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`',
    }),
    JWT_REFRESH_SECRET: secrets(environment)({
      desc: 'random secrets separated by commas or line breaks, the active one first; make one with `openssl rand -base64 48`',
    }),
    JWT_REFRESH_EXPIRES_IN: duration({ default: 604_800, desc: 'how long a session may be idle, such as 7d' }),
    SESSION_MAX_AGE: duration({ default: 2_592_000, desc: 'how long a session may last in all, such as 30d' }),
    REFRESH_GRACE: duration({
      default: 10,
      desc: 'how long a repeated refresh without an attempt id counts as a retry, such as 10s',
    }),
    FACTOR_KEY: secrets(environment)({
      desc: 'random secrets separated by commas or line breaks, the active one first, that seal the secrets of authenticator apps and webhooks; make one with `openssl rand -base64 48`',
    }),
    RP_ID: domain({
      default: undefined,
      desc: 'the domain that passkeys are for, such as example.com; if not set, the host of APP_ORIGIN, or the one host of CORS_ORIGINS',
    }),
    LOGIN_RATE_LIMIT_MAX: positive({ default: 60, desc: 'the most logins per client and minute (60 if not set)' }),
    TOKEN_RATE_LIMIT_MAX: positive({
      default: 600,
      desc: 'the most requests per client address and minute for tokens of service accounts (600 if not set)',
    }),
    CLIENT_JWKS_ORIGINS: origins({
      default: [],
      desc: 'origins inside from which public keys of service accounts may be fetched, such as http://jobs:8080',
    }),
    WEBHOOK_ORIGINS: origins({
      default: [],
      desc: 'origins inside to which webhooks may be sent, such as http://crm:8080',
    }),
    IMPERSONATION_ROLES: roles({
      default: [],
      desc: 'roles whose holders may sign in as others, such as support; nobody if not set',
    }),
    REDIS_URL: redisAddress({
      default: undefined,
      desc: 'where requests are counted together with other processes, such as redis://valkey:6379',
    }),
    BREACHED_PASSWORDS: text({
      default: undefined,
      desc: 'the path of a file of passwords known from data breaches, which no new one may be; `npm run breached` makes it',
    }),
    CORS_ORIGINS: origins({ default: [], desc: 'origins that may use the cookie, such as https://app.example.com' }),
    GATEWAY_ORIGIN: origin({
      default: undefined,
      desc: 'where browsers reach the gateway, such as http://localhost:5000, for the page at /docs',
    }),
    DIRECTORY_ROLES: roles({
      default: ['admin'],
      desc: 'roles whose holders may look users up by name, such as admin,doctor (admin if not set)',
    }),
    REVOCATIONS_SECRET: secrets(environment)({
      default: undefined,
      desc: 'what gateways present to read the revocation stream, which is closed without it; `openssl rand -base64 48` makes one',
    }),
    SMTP_URL: smtpServer({
      default: undefined,
      desc: 'where mail is handed over, smtp://user:password@host:587 or smtps://; no mail is sent without it',
    }),
    MAIL_FROM: mailbox({ default: undefined, desc: mailFrom }),
    APP_NAME: text({ default: 'Sallyport', desc: 'what mails call the system (Sallyport if not set)' }),
    APP_ORIGIN: safeOrigin({ default: undefined, desc: appOrigin }),
    MAIL_TEMPLATES: text({
      default: undefined,
      desc: 'a folder of templates in the place of those shipped (docs/mail.md)',
    }),
    MAIL_RATE_LIMIT_MAX: positive({
      default: 10,
      desc: 'the most mails per client and minute that are sent to whoever asks (10 if not set)',
    }),
    REGISTRATION: choice(
      'closed',
      'invite',
      'open',
    )({ default: 'invite', desc: 'who may make an account: closed, invite or open (invite if not set)' }),
    REGISTRATION_ROLES: roles({ default: undefined, desc: registrationRoles }),
    REGISTRATION_DOMAINS: domains({
      default: undefined,
      desc: 'domains of e-mail addresses that may register, such as example.com; all if not set',
    }),
    ACCOUNT_DELETION_GRACE: duration({
      default: 1_209_600,
      desc: 'how long a deleted account can be had back by signing in, such as 14d',
    }),
    SECURITY_EVENTS_RETENTION: durationBetween(
      7_776_000,
      315_360_000,
    )({ default: 34_560_000, desc: 'how long security events are kept, from 90d to 3650d (400d if not set)' }),
    AUDIT_LOG: auditSink({
      default: undefined,
      desc: 'where security events are written to besides the database (docs/audit.md): file:/var/log/sallyport/audit.ndjson, syslog+tls://host:6514 or syslog+tcp://host:601',
    }),
  })
  return {
    ...processConfig(environment, 'AUTH_PORT', settings.AUTH_PORT),
    /** Whether to serve the description of the API, which is for those who write against it. */
    docs: settings.NODE_ENV === 'development',
    /** Where that page's requests go; undefined is where the page itself was loaded from. */
    gatewayOrigin: settings.GATEWAY_ORIGIN,
    databaseUrl: settings.DATABASE_URL,
    /** The address for what needs a connection of its own. */
    databaseDirectUrl: settings.DATABASE_DIRECT_URL ?? settings.DATABASE_URL,
    databasePooled: settings.DATABASE_DIRECT_URL !== undefined,
    databaseConnections: shareConnections(settings.DATABASE_CONNECTIONS),
    databaseWait: settings.DATABASE_WAIT,
    accessToken: {
      issuer: settings.JWT_ISSUER,
      audience: settings.JWT_AUDIENCE,
      clientId: settings.JWT_CLIENT_ID,
      seconds: settings.JWT_EXPIRES_IN,
      privateKeys: settings.JWT_PRIVATE_KEY,
    },
    refreshSecrets: settings.JWT_REFRESH_SECRET,
    factorKeys: settings.FACTOR_KEY,
    /** Where keys and secrets are mounted, and so can change while we run. */
    keyFiles: [
      environment.JWT_PRIVATE_KEY_FILE,
      environment.JWT_REFRESH_SECRET_FILE,
      environment.FACTOR_KEY_FILE,
    ].filter((file) => !!file) as string[],
    session: {
      idleSeconds: settings.JWT_REFRESH_EXPIRES_IN,
      maxSeconds: settings.SESSION_MAX_AGE,
      graceSeconds: settings.REFRESH_GRACE,
    },
    /** Per client, of each route that takes a password, a ticket or a second factor, or changes one. */
    loginRateLimit: { max: settings.LOGIN_RATE_LIMIT_MAX, timeWindow: '1 minute', ipv6Subnet: 64 },
    /** Per client address, of each endpoint of OAuth. */
    tokenRateLimit: { max: settings.TOKEN_RATE_LIMIT_MAX, timeWindow: '1 minute', ipv6Subnet: 64 },
    /** Where the endpoints of OAuth are reached, if clients can find that by the issuer. */
    oauthOrigin: oauthOrigin(settings),
    clientJwksOrigins: settings.CLIENT_JWKS_ORIGINS,
    webhookOrigins: settings.WEBHOOK_ORIGINS,
    impersonationRoles: settings.IMPERSONATION_ROLES,
    redisUrl: settings.REDIS_URL,
    breachedPasswords: settings.BREACHED_PASSWORDS,
    origins: settings.CORS_ORIGINS,
    directoryRoles: settings.DIRECTORY_ROLES,
    trust: readTrust(environment, 'auth'),
    revocationsSecrets: settings.REVOCATIONS_SECRET,
    ...readAccounts(settings),
    appName: settings.APP_NAME,
    relyingParty: readRelyingParty(settings),
    mailsPerMinute: settings.MAIL_RATE_LIMIT_MAX,
    deletionGrace: settings.ACCOUNT_DELETION_GRACE,
    eventsRetention: settings.SECURITY_EVENTS_RETENTION,
    version: versionOf(environment),
    auditSink: settings.AUDIT_LOG,
  }
}

/**
 * GATEWAY_ORIGIN, or that of the issuer; undefined where the issuer is a mere name, by which nobody finds them: RFC 8414
 * section 2 wants an address.
 */
function oauthOrigin({
  GATEWAY_ORIGIN: gateway,
  JWT_ISSUER: issuer,
}: {
  GATEWAY_ORIGIN: string | undefined
  JWT_ISSUER: string
}) {
  if (!URL.canParse(issuer) || !/^https?:/.test(issuer)) return undefined
  return gateway ?? new URL(issuer).origin
}

const mailFrom = 'whom mails are from, an address or Name <address>; required with SMTP_URL'
const appOrigin = 'where links in mails lead, such as https://app.example.com; required with SMTP_URL'
const registrationRoles = 'the roles of whoever registers, such as patient; required with REGISTRATION=open'

export interface MailConfig {
  server: SmtpServer
  from: Mailbox
  app: { name: string; origin: string }
  /** A folder of templates in the place of ours. */
  templates: string | undefined
}

/** Who may make an account; an invitation says its roles itself. */
export type Registration = { kind: 'closed' | 'invite' } | OpenRegistration
export type OpenRegistration = { kind: 'open'; roles: string[]; domains?: string[] }

interface AccountSettings {
  SMTP_URL: SmtpServer | undefined
  MAIL_FROM: Mailbox | undefined
  APP_NAME: string
  APP_ORIGIN: string | undefined
  MAIL_TEMPLATES: string | undefined
  REGISTRATION: Registration['kind']
  REGISTRATION_ROLES: string[] | undefined
  REGISTRATION_DOMAINS: string[] | undefined
}

/** Settings that need one another: who registers gets a mail, and a mail has a sender and links. */
function readAccounts(settings: AccountSettings): { mail: MailConfig | undefined; registration: Registration } {
  const { SMTP_URL: server, MAIL_FROM: from, APP_NAME: name, APP_ORIGIN: origin, MAIL_TEMPLATES: templates } = settings
  const { REGISTRATION: kind, REGISTRATION_ROLES: roles, REGISTRATION_DOMAINS: domains } = settings
  const isOpen = kind === 'open'
  const missing = [
    isOpen && !roles && `REGISTRATION_ROLES is not set; it takes ${registrationRoles}`,
    isOpen && !server && 'SMTP_URL is not set; REGISTRATION=open needs it, as whoever registers gets a mail',
    (server || isOpen) && !from && `MAIL_FROM is not set; it takes ${mailFrom}`,
    (server || isOpen) && !origin && `APP_ORIGIN is not set; it takes ${appOrigin}`,
  ].filter(Boolean)
  if (missing.length > 0) throw new ConfigurationError(missing.join('\n'))
  return {
    mail: server && { server, from: from as Mailbox, app: { name, origin: origin as string }, templates },
    registration: isOpen ? { kind, roles: roles as string[], ...(domains && { domains }) } : { kind },
  }
}

/** Logins are bounded by hashing, so that a few connections do; a refresh never waits for one of theirs. */
function shareConnections(all: number) {
  const forLogins = Math.ceil(all / 4)
  return { forLogins, others: Math.max(1, all - forLogins) }
}
