import { createPublicKey } from 'node:crypto'
import { parseArgs } from 'node:util'
import { duration, readSettings } from '@sallyport/chassis/settings'
import { type Key, type Kind, kinds, makeNewKey, readKeys, readKeysIfAny, writeKeys } from './key-file.ts'
import { makeKey, makeSecret } from './secrets.ts'

const usage =
  'usage: new KIND | list KIND | activate KIND ID | retire KIND ID | env, where KIND is signing, refresh or factor; --file FILE, --force; see docs/keys.md'

/** Milliseconds until every gateway has a key that was published: the most that JWKS_MAX_AGE can be. */
const spread = 300_000

/** Milliseconds in which auth seals with the active key what is sealed with another one: ten thousand a minute. */
const resealedWithin = 86_400_000

/** What it costs to do without waiting. */
const costs = {
  activate: {
    signing: 'a gateway that has not fetched it yet refuses the tokens it signs, for up to a minute',
    refresh: 'an auth service that has not read it yet signs out every user whose cookie it signed',
    factor: 'an auth service that has not read it yet cannot check the codes of authenticator apps that it seals',
  },
  retire: {
    signing: 'the access tokens it signed are refused, and their clients have to refresh',
    refresh: 'every user who has not refreshed since it was replaced is signed out',
    factor:
      'the authenticator apps whose secrets are still sealed with it are lost, and their users have to add them anew',
  },
}

/** Settings by name, as in an environment. */
type Settings = Record<string, string | undefined>

interface Job {
  kind: Kind
  file: string
  id: string
  force: boolean
  settings: Settings
  say: (line: string) => void
  warn: (line: string) => void
}

const commands: Record<string, (job: Job) => void> = {
  new({ kind, file, say }) {
    const keys = readKeysIfAny(kind, file)
    const key = makeNewKey(kind)
    writeKeys(file, [...keys, key])
    say(keys.length === 0 ? `made ${key.kid}, which is active` : `made ${key.kid}; activate it in 5 minutes or later`)
  },

  list({ kind, file, say }) {
    for (const [index, { kid, created = 'unknown', activeUntil }] of readKeys(kind, file).entries()) {
      const state = activeUntil ? `accepted, active until ${activeUntil}` : 'accepted'
      say(`${kind} ${kid} created ${created} ${index === 0 ? 'active' : state}`)
    }
  },

  activate(job) {
    const { key, others } = find(job)
    const [active, ...rest] = others as [Key, ...Key[]]
    const readyAt = Date.parse(key.created ?? '') + spread
    insist(job, 'activate', readyAt, 'when it was made is not known')
    const now = new Date().toISOString()
    writeKeys(job.file, [{ ...key, activeUntil: undefined }, { ...active, activeUntil: now }, ...rest])
    job.say(`${key.kid} is active; ${active.kid} is still accepted`)
  },

  retire(job) {
    const { key, others } = find(job)
    const neverSigned = key.created !== undefined && key.activeUntil === undefined
    const endsAt = neverSigned ? 0 : Date.parse(key.activeUntil ?? '') + lifetimes(job.settings)[job.kind]
    insist(job, 'retire', endsAt, 'when it last signed is not known')
    writeKeys(job.file, others)
    job.say(`${key.kid} is retired`)
  },
}

/** A key that is not the active one, and all the others in their order. */
function find({ kind, file, id }: Job): { key: Key; others: Key[] } {
  const keys = readKeys(kind, file)
  const key = keys.find(({ kid }) => kid === id)
  if (!key) throw new Error(`${file} holds no ${kind} key ${id}; \`npm run keys -- list ${kind}\` shows those it holds`)
  if (key === keys[0]) throw new Error(`${id} is the active one; make another and activate that first`)
  return { key, others: keys.filter((other) => other !== key) }
}

/** Refuses what comes too early, unless it is forced: then it says what that costs. */
function insist({ kind, id, force, warn }: Job, command: keyof typeof costs, time: number, unknown: string): void {
  if (Date.now() >= time) return
  const cost = costs[command][kind]
  const since = Number.isNaN(time) ? unknown : `wait until ${new Date(time).toISOString()}`
  if (!force) throw new Error(`it is too early to ${command} ${id} (${since}): ${cost}; --force does it all the same`)
  warn(`warning: ${cost}`)
}

/** How long what a key signed may be in use, in milliseconds, by the settings of the auth service. */
function lifetimes(given: Settings): Record<Kind, number> {
  const settings = readSettings(given, {
    JWT_EXPIRES_IN: duration({ default: 900, desc: 'how long an access token holds, such as 15m' }),
    JWT_REFRESH_EXPIRES_IN: duration({ default: 604_800, desc: 'how long a session may be idle, such as 7d' }),
  })
  return {
    signing: settings.JWT_EXPIRES_IN * 1000,
    refresh: settings.JWT_REFRESH_EXPIRES_IN * 1000,
    factor: resealedWithin,
  }
}

/**
 * All secrets of a system, for a file of settings such as the .env of docker-compose.yml. Quotes keep a shell from
 * taking PEM for several words.
 */
function printSettings(say: Job['say']): void {
  const identityKey = makeKey()
  const settings = {
    JWT_PRIVATE_KEY: makeKey(),
    JWT_REFRESH_SECRET: makeSecret(),
    FACTOR_KEY: makeSecret(),
    REVOCATIONS_SECRET: makeSecret(),
    IDENTITY_PRIVATE_KEY: identityKey,
    IDENTITY_PUBLIC_KEY: createPublicKey(identityKey).export({ type: 'spki', format: 'pem' }).toString(),
    POSTGRES_PASSWORD: makeSecret(),
    AUTH_DATABASE_PASSWORD: makeSecret(),
    APPOINTMENTS_DATABASE_PASSWORD: makeSecret(),
  }
  for (const [name, value] of Object.entries(settings)) say(`${name}="${value.trim().replaceAll('\n', '\\n')}"`)
}

const isKind = (word: string): word is Kind => Object.hasOwn(kinds, word)

/**
 * Makes, lists, activates and retires the keys of a file, as its words say.
 *
 * @param settings of the auth service: where its keys are, and how long what they sign is in use
 * @returns the exit code: 0, or 1 if what was asked for cannot be done, which `warn` received in a line
 */
export function manageKeys(words: string[], settings: Settings, say: Job['say'], warn: Job['warn']): number {
  try {
    obey(words, settings, say, warn)
    return 0
  } catch (error) {
    warn((error as Error).message)
    return 1
  }
}

function obey(words: string[], settings: Settings, say: Job['say'], warn: Job['warn']): void {
  const { values, positionals } = parseArgs({
    args: words,
    options: { file: { type: 'string' }, force: { type: 'boolean', default: false } },
    allowPositionals: true,
  })
  if (positionals.join(' ') === 'env') {
    printSettings(say)
    return
  }
  const [name = '', kind = '', id = '', ...more] = positionals
  const command = Object.hasOwn(commands, name) && commands[name]
  const takesId = name === 'activate' || name === 'retire'
  if (!command || !isKind(kind) || (id !== '') !== takesId || more.length > 0) throw new Error(usage)
  const variable = `${kinds[kind].setting}_FILE`
  const file = values.file || settings[variable]
  if (!file) throw new Error(`which file? name it with --file, or set ${variable} as the auth service has it`)
  command({ kind, file, id, force: values.force, settings, say, warn })
}
