import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'
import { channel } from 'node:diagnostics_channel'
import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { parse as parseDuration } from '@lukeed/ms'
import { algorithmOf, isRole, toMailbox } from '@sallyport/identity'
import {
  type CleanedEnv,
  customCleanEnv,
  EnvError,
  EnvMissingError,
  makeExactValidator,
  type ValidatorSpec,
} from 'envalid'

/** Bad configuration. The message has one line for each setting, each saying how to correct it. */
export class ConfigurationError extends Error {
  override name = 'ConfigurationError'
}

export type Environment = Record<string, string | undefined>

/** Publishes the specs of all settings that are read: docs/configuration.mjs makes its tables of them. */
const settingsRead = channel('sallyport.settings')

/**
 * Reads settings from an environment. For every setting NAME, NAME_FILE may name a file that holds the
 * value instead (as Docker and Kubernetes mount secrets); an empty value counts as not set, and both at once are refused.
 *
 * Every spec needs a `desc` that says what the setting takes: it ends the line a user is shown.
 *
 * @throws ConfigurationError naming every setting that is missing or wrong
 */
export function readSettings<Specs extends Record<string, ValidatorSpec<unknown>>>(
  environment: Environment,
  specs: Specs,
): Readonly<CleanedEnv<Specs>> {
  settingsRead.publish(specs)
  const values: Environment = {}
  const twice = Object.keys(specs).filter((name) => environment[name] && environment[`${name}_FILE`])
  // Which of the two was meant nobody can tell, and with keys the wrong one is an outage or a leaked key in use.
  if (twice.length > 0)
    throw new ConfigurationError(
      twice
        .map((name) => `${name} and ${name}_FILE are both set; drop ${name} to use the file, or ${name}_FILE`)
        .join('\n'),
    )
  for (const name of Object.keys(specs)) {
    const value = environment[name] || mounted(name, environment[`${name}_FILE`])
    if (value) values[name] = value
  }
  return customCleanEnv(values, specs, (settings) => settings, {
    reporter: ({ errors }) => {
      const lines = Object.entries(errors).map(([name, error]) => {
        const fault = error instanceof EnvMissingError ? `is not set, nor is ${name}_FILE` : (error as Error).message
        return `${name} ${fault}; it takes ${specs[name]?.desc}`
      })
      if (lines.length > 0) throw new ConfigurationError(lines.join('\n'))
    },
  })
}

function mounted(name: string, file: string | undefined): string | undefined {
  if (!file) return undefined
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (cause) {
    throw new ConfigurationError(`${name}_FILE names ${file}, which cannot be read; mount it or correct the path`, {
      cause,
    })
  }
}

export const text = makeExactValidator<string>((input) => input)

/** One of some words. */
export const choice = <Word extends string>(...words: Word[]) =>
  makeExactValidator<Word>((input) => {
    if (!words.includes(input as Word)) throw new EnvError(`is none of ${words.join(', ')}`)
    return input as Word
  })

/** A port; 0 asks the system for a free one. */
export const port = makeExactValidator<number>((input) => {
  if (!/^\d{1,5}$/.test(input) || Number(input) > 65535) throw new EnvError('is not a port')
  return Number(input)
})

/** A whole number above 0. */
export const positive = makeExactValidator<number>((input) => {
  if (!/^[1-9]\d{0,9}$/.test(input)) throw new EnvError('is not a whole number above 0')
  return Number(input)
})

/** A span of time such as `15m` or `7d`; a bare number is seconds. The value is in seconds. */
export const duration = makeExactValidator<number>(seconds)

/** A span of time within bounds, in seconds. */
export const durationBetween = (least: number, most: number) =>
  makeExactValidator<number>((input) => {
    const span = seconds(input)
    if (span < least || span > most) throw new EnvError(`is not between ${least} and ${most} seconds`)
    return span
  })

function seconds(input: string): number {
  const span = readDuration(input)
  if (span === undefined) throw new EnvError('is not a span of time')
  return span
}

/** @returns the seconds of a span of time as settings have it; undefined for what is none */
export function readDuration(input: string): number | undefined {
  // Of "0s" the parser makes nothing.
  const bare = /^(\d+)s?$/.exec(input)?.[1]
  const span = Number(bare ?? (parseDuration(input) ?? Number.NaN) / 1000)
  return span >= 0 ? span : undefined
}

export const webAddress = makeExactValidator<string>((input) => {
  if (!URL.canParse(input) || !/^https?:$/.test(new URL(input).protocol))
    throw new EnvError('is not an http or https address')
  return input
})

/** Where Redis or Valkey is, as they write it themselves. */
export const redisAddress = makeExactValidator<string>((input) => {
  if (!URL.canParse(input) || !/^rediss?:$/.test(new URL(input).protocol))
    throw new EnvError('is not a redis or rediss address')
  return input
})

export interface SmtpServer {
  host: string
  port: number
  /** From the first byte, by STARTTLS or not at all, by STARTTLS if that is offered, never. */
  tls: 'implicit' | 'required' | 'optional' | 'off'
  auth: { user: string; pass: string } | undefined
}

const isLoopback = (host: string) => /^(localhost|.+\.localhost|127(\.\d+){3}|\[::1\])$/i.test(host)

/**
 * Where mail is handed over. STARTTLS is required unless the host is this machine; `?tls=required` and `?tls=optional`
 * decide it for any host.
 */
export const smtpServer = makeExactValidator<SmtpServer>((input) => {
  const url = URL.canParse(input) ? new URL(input) : undefined
  const query = /^(?:\?tls=(required|optional))?$/.exec(url?.search ?? '')
  const isServer = url && /^smtps?:$/.test(url.protocol) && url.hostname !== '' && !/[^/]/.test(url.pathname + url.hash)
  if (!isServer || !query)
    throw new EnvError(
      'is not an smtp:// or smtps:// address; in a user name or password, / is written %2F, # %23, ? %3F, : %3A, @ %40 and % %25',
    )
  const isImplicit = url.protocol === 'smtps:'
  const chosen = query[1] as SmtpServer['tls'] | undefined
  return {
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: Number(url.port || (isImplicit ? 465 : 587)),
    tls: isImplicit ? 'implicit' : (chosen ?? (isLoopback(url.hostname) ? 'off' : 'required')),
    auth: url.username === '' ? undefined : { user: decode(url.username), pass: decode(url.password) },
  }
})

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new EnvError('has a % in its user name or password that is not written %25')
  }
}

/** Where the audit log goes. The name is how it was written, by which the same one is known again. */
export type AuditSink = { name: string } & ({ path: string } | { host: string; port: number; tls: boolean })

/** A file, or a receiver of syslog by TLS or plain TCP. By UDP what is lost is lost without a sign, so it is none. */
export const auditSink = makeExactValidator<AuditSink>((input) => {
  const [, path] = /^file:(?:\/\/)?(\/.*[^/])$/.exec(input) ?? []
  if (path !== undefined) return { name: input, path }
  const url = URL.canParse(input) ? new URL(input) : undefined
  const [, kind] = /^syslog\+(tls|tcp):$/.exec(url?.protocol ?? '') ?? []
  const isReceiver = url && kind && url.hostname !== '' && !/[^/]/.test(url.pathname + url.search + url.hash)
  if (!isReceiver || url.username !== '') throw new EnvError('is no file:/, syslog+tls:// or syslog+tcp:// address')
  const tls = kind === 'tls'
  return { name: input, host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port || (tls ? 6514 : 601)), tls }
})

export interface Mailbox {
  name: string
  address: string
}

/** Whom mail is from: an address, or `Name <address>`. */
export const mailbox = makeExactValidator<Mailbox>((input) => {
  const [, quoted, plain, inBrackets, bare] =
    /^(?:(?:"([^"\\]*)"|([^"<>]*?)) *<([^<>]+)>|([^<>]+))$/.exec(input.trim()) ?? []
  const address = inBrackets ?? bare ?? ''
  if (!/^[\w.!#$%&'*+/=?^`{|}~-]+@[a-z\d-]+(\.[a-z\d-]+)*$/i.test(address) || /\p{Cc}/u.test(input))
    throw new EnvError('is neither an address nor Name <address>')
  return { name: quoted ?? plain ?? '', address }
})

/** A web origin that others cannot listen in on: https, or this machine. */
export const safeOrigin = makeExactValidator<string>((input) => {
  const { protocol, hostname } = new URL(readOrigin(input))
  if (protocol !== 'https:' && !isLoopback(hostname))
    throw new EnvError('is not https, which only localhost need not be')
  return input
})

/**
 * Where PostgreSQL is, as a connection URI (libpq, "Connection URIs") with one host, or with none for the local default
 * or a socket (`?host=/run/postgresql`). Whether anything listens there is not checked.
 */
export const databaseAddress = makeExactValidator<string>((input) => {
  const [, authority, rest = ''] = /^postgres(?:ql)?:\/\/([^/?#]*)(.*)$/s.exec(input) ?? []
  if (authority === undefined) throw new EnvError('is not a postgresql:// address')
  const hosts = [authority.slice(authority.lastIndexOf('@') + 1), ...(rest.match(/(?<=[?&](host|port)=)[^&]*/g) ?? [])]
  if (hosts.some((host) => /,|%2c/i.test(host)))
    throw new EnvError(
      'names several hosts, which the driver cannot choose from; put one address in front that leads to the primary (a Service, HAProxy, a DNS name that moves), and name that',
    )
  // A user and no host is good for libpq and the driver, and not for URL. An @ further on was meant to end a password.
  const isAddress = URL.canParse(`postgresql://${authority.replace(/@$/, '@localhost')}${rest}`)
  if (!isAddress || (!authority.includes('@') && rest.includes('@')))
    throw new EnvError('is not an address; in a user name or password, / is written %2F, # %23, ? %3F, : %3A and @ %40')
  return input
})

/** Where PostgreSQL is, for a process that serves requests. */
export const databaseSettings = {
  DATABASE_URL: databaseAddress({ desc: 'postgresql://user:password@host:5432/database' }),
  DATABASE_DIRECT_URL: databaseAddress({
    default: undefined,
    desc: 'the same, past a pooler that gives each transaction another connection, where DATABASE_URL leads to one',
  }),
}

/** A web origin: scheme, host and port, nothing more. */
export const origin = makeExactValidator<string>(readOrigin)

/** Web origins, separated by commas. */
export const origins = makeExactValidator<string[]>((input) => input.split(',').map((item) => readOrigin(item.trim())))

function readOrigin(input: string): string {
  if (!URL.canParse(input) || new URL(input).origin !== input)
    throw new EnvError(`holds "${input}", which is not an origin`)
  return input
}

/** Names of headers, separated by commas; in lower case, each once. `*` is none: with credentials it names no header. */
export const headerNames = makeExactValidator<string[]>((input) => {
  const names = input.split(',').map((item) => item.trim().toLowerCase())
  const wrong = names.find((name) => name === '*' || !/^[\w!#$%&'*+\-.^`|~]+$/.test(name))
  if (wrong !== undefined) throw new EnvError(`holds "${wrong}", which is no name of a header`)
  return [...new Set(names)]
})

/** The name of a host or a domain, as browsers write it: no IP address. */
export const domain = makeExactValidator<string>((input) => {
  const isWritten = URL.canParse(`https://${input}`) && new URL(`https://${input}`).host === input
  if (!isWritten || isIP(input) || input.includes(':')) throw new EnvError(`holds "${input}", which is no domain name`)
  return input
})

/** Domain names of e-mail addresses, separated by commas; as A-labels, each once. */
export const domains = makeExactValidator<string[]>((input) =>
  input.split(',').map((item) => {
    const mailbox = toMailbox(`a@${item.trim()}`)
    if (mailbox === undefined) throw new EnvError(`holds "${item.trim()}", which is no domain name`)
    return mailbox.slice(2)
  }),
)

/** Roles, separated by commas. */
export const roles = makeExactValidator<string[]>((input) =>
  input.split(',').map((item) => {
    const role = item.trim()
    if (!isRole(role)) throw new EnvError(`holds "${role}", which is not a role`)
    return role
  }),
)

/**
 * PEM text of one or more keys, all private or all public, of the kinds we sign with. A literal `\\n` counts as a line
 * break, since an env file holds one line.
 */
const pem = (read: (block: string) => KeyObject) =>
  makeExactValidator<[string, ...string[]]>((input) => {
    const blocks = input.replaceAll('\\n', '\n').match(/-----BEGIN ([A-Z ]+)-----[^-]+-----END \1-----/g)
    if (!blocks) throw new EnvError('holds no PEM block')
    try {
      for (const block of blocks) algorithmOf(read(block))
    } catch {
      throw new EnvError(
        'holds a key that is none of EC P-256, Ed25519, RSA of at least 2048 bits, or is not of its half',
      )
    }
    return blocks as [string, ...string[]]
  })

export const privateKeys = pem(createPrivateKey)

/** A private key in place of a public one is refused: what only verifies has no business with it. */
export const publicKeys = pem((block) => {
  if (block.includes('PRIVATE KEY')) throw new Error('a private key')
  return createPublicKey(block)
})

/** Addresses, CIDR ranges, or proxy-addr's names for some: loopback, linklocal, uniquelocal. */
export const addresses = makeExactValidator<string[]>((input) =>
  input.split(',').map((item) => {
    const [address = '', bits, more] = item.trim().split('/')
    const most = { 0: -1, 4: 32, 6: 128 }[isIP(address)] as number
    const isRange = bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= most)
    const isName = ['loopback', 'linklocal', 'uniquelocal'].includes(item.trim())
    if (!isName && (most < 0 || !isRange || more !== undefined))
      throw new EnvError(`holds "${item.trim()}", which is neither an address nor a CIDR range`)
    return item.trim()
  }),
)

const guessable = /change.?me|secret|password|example|default|12345|qwerty/i

/**
 * Shared secrets, separated by commas or one on a line: the first signs, the others are still accepted. Blank lines,
 * and lines that begin with #, say nothing. In production each secret must be long and look random, since who
 * guesses one can sign as us.
 */
export const secrets = (environment: Environment) =>
  makeExactValidator<[string, ...string[]]>((input) => {
    const lines = input.split('\n').map((line) => line.trim())
    const values = lines.filter((line) => line !== '' && !line.startsWith('#'))
    if (values.length === 0) throw new EnvError('holds no secret')
    const [first = '', ...others] = values.flatMap((line) => line.split(',')).map((item) => item.trim())
    const weak = [first, ...others].some((item) => item.length < 32 || new Set(item).size < 12 || guessable.test(item))
    if (weak && environment.NODE_ENV === 'production')
      throw new EnvError('is too weak (short, repetitive or made of guessable words)')
    return [first, ...others]
  })
