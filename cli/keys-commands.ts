import { createPublicKey } from 'node:crypto'
import { text } from 'node:stream/consumers'
import { duration, readSettings } from '@sallyport/chassis/settings'
import { Argument, type Command } from 'commander'
import { type Answer, answering } from './answer.ts'
import type { AddCommands, Io } from './io.ts'
import { formatKeys, type Key, type Kind, kinds, makeNewKey, readKeys, readKeysIfAny, writeKeys } from './key-file.ts'
import { rotate, rotateSecret, spread } from './rotate-keys.ts'
import { makeSecretFiles } from './secret-files.ts'
import { makeKey, makeSecret } from './secrets.ts'

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

interface Options {
  file?: string
  force?: boolean
}

interface Job {
  kind: Kind
  file: string
  id: string
  force: boolean
  settings: Settings
}

/** Keys of the auth service in files: made, activated and retired while it runs. */
export const addKeys: AddCommands = (program, io) => {
  const keys = program
    .command('keys')
    .description('keys of the auth service, of the kinds signing, refresh and factor: docs/keys.md')
  const about = (name: string, description: string) =>
    keys
      .command(name)
      .description(description)
      .addArgument(new Argument('<kind>').choices(Object.keys(kinds)))
      .option('--file <file>', 'the file of keys; if not given, that of the setting, such as JWT_PRIVATE_KEY_FILE')
  const jobOf = (kind: Kind, { file, force = false }: Options, id = ''): Job => ({
    ...{ kind, id, force, file: fileOf(kind, file, io.env), settings: io.env },
  })
  const ofKind = (command: Command, work: (job: Job) => Answer) =>
    command.action(answering(io, (kind: Kind, options: Options) => work(jobOf(kind, options))))
  const ofKey = (command: Command, work: (job: Job) => Answer) =>
    command
      .argument('<id>', 'of the key')
      .option('--force', 'even where it is too early')
      .action(answering(io, (kind: Kind, id: string, options: Options) => work(jobOf(kind, options, id))))

  ofKind(about('new', 'make a key: the first of a file is active, another is accepted at once'), makeAnother)
  ofKind(about('list', 'the keys of a file, the active one first'), list)
  ofKey(about('activate', 'sign with a key that is published by now'), activate)
  ofKey(about('retire', 'accept no longer what a key signed'), retire)
  keys
    .command('rotate')
    .description(
      'do the step of a rotation that is due, of one kind of key or of all; any number of runs is as good as one',
    )
    .addArgument(new Argument('[kind]').choices(Object.keys(kinds)))
    .option('--file <file>', 'the file of keys of that kind; if not given, that of the setting')
    .option('--now', 'begin, whatever the age of the active key')
    .option('--secret', 'of the Kubernetes secret on standard input, which comes out as `kubectl replace` takes it')
    .action(async (kind: Kind | undefined, options: RotateOptions, command: Command) => {
      if (options.secret) await rotateInSecret(kind, options, io)
      else await answering(io, rotateFiles)(kind, options, io, command)
    })
  keys
    .command('files')
    .description('make what is missing of the secrets of a system, each a file; values of the settings are taken over')
    .argument('<folder>', 'of a clone `.secrets`, where docker-compose.yml looks')
    .action(
      answering(io, (folder: string) => {
        const made = makeSecretFiles(folder, io.env)
        return { value: { made }, lines: made.map((file) => `made ${file}`) }
      }),
    )
  keys
    .command('env')
    .description('a whole set of new secrets, as a file of settings has them')
    .action(answering(io, makeSettings))
}

function fileOf(kind: Kind, given: string | undefined, settings: Settings): string {
  const variable = `${kinds[kind].setting}_FILE`
  const file = given || settings[variable]
  if (!file) throw new Error(`which file? name it with --file, or set ${variable} as the auth service has it`)
  return file
}

function makeAnother({ kind, file }: Job): Answer {
  const keys = readKeysIfAny(kind, file)
  const key = makeNewKey(kind)
  writeKeys(file, [...keys, key])
  const isFirst = keys.length === 0
  const line = isFirst ? `made ${key.kid}, which is active` : `made ${key.kid}; activate it in 5 minutes or later`
  return { value: { kind, id: key.kid, active: isFirst }, lines: [line] }
}

function list({ kind, file }: Job): Answer {
  const keys = readKeys(kind, file).map(({ kid: id, created, activeUntil }, index) => ({
    ...{ kind, id, created: created ?? null, active: index === 0 },
    activeUntil: (index > 0 && activeUntil) || null,
  }))
  const stateOf = ({ active, activeUntil }: (typeof keys)[number]) =>
    active ? 'active' : activeUntil ? `accepted, active until ${activeUntil}` : 'accepted'
  const lines = keys.map((key) => `${kind} ${key.id} created ${key.created ?? 'unknown'} ${stateOf(key)}`)
  return { value: { keys }, lines }
}

function activate(job: Job): Answer {
  const { key, others } = find(job)
  const [active, ...rest] = others as [Key, ...Key[]]
  const readyAt = Date.parse(key.created ?? '') + spread
  const warnings = insist(job, 'activate', readyAt, 'when it was made is not known')
  const now = new Date().toISOString()
  writeKeys(job.file, [{ ...key, activeUntil: undefined }, { ...active, activeUntil: now }, ...rest])
  const value = { kind: job.kind, active: key.kid, accepted: active.kid, warnings }
  return { value, lines: [`${key.kid} is active; ${active.kid} is still accepted`], warnings }
}

function retire(job: Job): Answer {
  const { key, others } = find(job)
  const neverSigned = key.created !== undefined && key.activeUntil === undefined
  const endsAt = neverSigned ? 0 : Date.parse(key.activeUntil ?? '') + lifetimes(job.settings)[job.kind]
  const warnings = insist(job, 'retire', endsAt, 'when it last signed is not known')
  writeKeys(job.file, others)
  return { value: { kind: job.kind, retired: key.kid, warnings }, lines: [`${key.kid} is retired`], warnings }
}

interface RotateOptions {
  file?: string
  now?: boolean
  secret?: boolean
}

const optionsOf = (kind: Kind, { now = false }: RotateOptions, settings: Settings) => ({
  lifetime: lifetimes(settings)[kind],
  begin: now,
})

function rotateFiles(given: Kind | undefined, options: RotateOptions, { env }: Io): Answer {
  if (options.file && !given) throw new Error('--file goes with one kind of key')
  const done = chosen(given).flatMap((kind) => {
    const file = fileOf(kind, options.file, env)
    const before = readKeys(kind, file)
    const { keys, lines } = rotate(kind, before, optionsOf(kind, options, env))
    if (formatKeys(keys) !== formatKeys(before)) writeKeys(file, keys)
    return lines
  })
  return { value: { done }, lines: done }
}

/** Its answer is the secret, in JSON by itself; what was done to it is said beside. */
async function rotateInSecret(given: Kind | undefined, options: RotateOptions, io: Io): Promise<void> {
  const { json, lines } = rotateSecret(await text(io.stdin), chosen(given), (kind) => optionsOf(kind, options, io.env))
  lines.forEach(io.warn)
  io.say(json)
}

const chosen = (given: Kind | undefined) => (given ? [given] : (Object.keys(kinds) as Kind[]))

/** A key that is not the active one, and all the others in their order. */
function find({ kind, file, id }: Job): { key: Key; others: Key[] } {
  const keys = readKeys(kind, file)
  const key = keys.find(({ kid }) => kid === id)
  if (!key) throw new Error(`${file} holds no ${kind} key ${id}; \`sallyport keys list ${kind}\` shows those it holds`)
  if (key === keys[0]) throw new Error(`${id} is the active one; make another and activate that first`)
  return { key, others: keys.filter((other) => other !== key) }
}

/** Refuses what comes too early, unless it is forced: then it says what that costs. */
function insist({ kind, id, force }: Job, command: keyof typeof costs, time: number, unknown: string): string[] {
  if (Date.now() >= time) return []
  const cost = costs[command][kind]
  const since = Number.isNaN(time) ? unknown : `wait until ${new Date(time).toISOString()}`
  if (!force) throw new Error(`it is too early to ${command} ${id} (${since}): ${cost}; --force does it all the same`)
  return [cost]
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
function makeSettings(): Answer {
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
  const lines = Object.entries(settings).map(([name, value]) => `${name}="${value.trim().replaceAll('\n', '\\n')}"`)
  return { value: settings, lines }
}
