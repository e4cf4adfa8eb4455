import { createPublicKey, type KeyObject } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { accountFormats } from '@sallyport/auth/accounts/fields'
import { addCredential, type NewCredential } from '@sallyport/auth/clients/credentials'
import { addExchange } from '@sallyport/auth/clients/exchanges'
import { isAudience, viewClient, viewCredential, viewExchange } from '@sallyport/auth/clients/fields'
import { readJwks } from '@sallyport/auth/clients/jwks'
import { record, type SecurityEvent } from '@sallyport/auth/events/security-events'
import { createLogger, readDuration, readSettings, text } from '@sallyport/chassis'
import type { Database } from '@sallyport/database'
import { areScopes, isRole, isUuid, publicJwk } from '@sallyport/identity'
import type { Command } from 'commander'
import { type Answer, answering } from './answer.ts'
import { withDatabase } from './database.ts'
import type { AddCommands, Io } from './io.ts'
import { collect } from './options.ts'

interface Options {
  role: string[]
  scope: string[]
  audience: string[]
  name?: string
  expires?: string
  jwks?: string
  pem?: string
  from: string
}

type Client = Awaited<ReturnType<typeof find>>

/** Service accounts, as the pages for administrators have them. */
export const addClients: AddCommands = (program, io) => {
  const clients = program.command('clients').description('service accounts: docs/machines.md')
  const about = (name: string, description: string) => clients.command(name).description(description)
  const onDatabase = (command: Command, work: (database: Database, options: Options) => Promise<Answer>) =>
    command.action(answering(io, (options: Options) => withDatabase(io, (database) => work(database, options))))
  /** Of one service account, and of what it has. */
  const ofOne = (
    command: Command,
    work: (database: Database, client: Client, options: Options, item: string) => Promise<Answer>,
  ) =>
    command.action(
      answering(io, (id: string, ...more: unknown[]) =>
        withDatabase(io, async (database) => {
          const [item, options] = more.length > 1 ? (more as [string, Options]) : ['', more[0] as Options]
          return work(database, await find(database, id), options, item)
        }),
      ),
    )
  const one = (name: string, description: string) => about(name, description).argument('<id>', 'of the service account')
  const named = (command: Command) => command.option('--name <name>', 'what it is called')
  const expiring = (command: Command) => named(command).option('--expires <span>', 'after how long, such as 90d')
  const granted = (command: Command) =>
    command
      .option('--role <role>', 'that its tokens have; any number of times', collect, [])
      .option('--scope <scope>', 'that its tokens may have; any number of times', collect, [])

  onDatabase(about('list', 'all of them'), list)
  ofOne(one('show', 'one of them, with what it has'), async (_, client) => show(client))
  granted(about('create', 'make one').argument('<name>', 'what it is called'))
    .option('--audience <audience>', 'that its tokens are for; any number of times', collect, [])
    .action(
      answering(io, (name: string, options: Options) =>
        withDatabase(io, (database) => create(database, io, name, options)),
      ),
    )
  ofOne(one('delete', 'delete one: its tokens are refused from then on'), deleteOne)

  ofOne(expiring(one('add-secret', 'a client secret, which is shown once')), (database, client, options) =>
    add(database, client, { kind: 'secret', ...readNamed(options, 'secret') }),
  )
  ofOne(expiring(one('add-api-key', 'an API key, which is shown once')), (database, client, options) =>
    add(database, client, { kind: 'api_key', ...readNamed(options, 'API key') }),
  )
  ofOne(
    named(one('add-keys', 'public keys, of which it has the private ones'))
      .option('--jwks <file>', 'a JWK Set')
      .option('--pem <file>', 'a key in PEM'),
    (database, client, options) =>
      add(database, client, { kind: 'keys', name: options.name ?? 'keys', jwks: readKeyFile(options) }),
  )
  ofOne(one('revoke', 'a secret, keys or an API key').argument('<credential>', 'its id'), revoke)

  ofOne(
    granted(one('add-exchange', 'let it act for callers of one audience at another'))
      .requiredOption('--from <audience>', 'that the tokens are for which it exchanges')
      .option('--audience <audience>', 'that the tokens are for which it gets', collect, []),
    exchange,
  )
  ofOne(one('remove-exchange', 'no longer let it').argument('<exchange>', 'its id'), removeExchange)
}

async function list(database: Database): Promise<Answer> {
  const clients = await database.client.findMany({ orderBy: { id: 'asc' }, include: { credentials: true } })
  const lines = clients.map(
    ({ id, name, roles, scopes }) => `${id} ${name}; roles: ${listed(roles)}; scopes: ${listed(scopes)}`,
  )
  return { value: { clients: clients.map((client) => viewClient(client, client.credentials)) }, lines }
}

function show(client: Client): Answer {
  const { id, name, roles, scopes, audiences } = client
  const [credentials, exchanges] = [client.credentials.map(viewCredential), client.exchanges.map(viewExchange)]
  return {
    value: { ...viewClient(client, client.credentials), credentials, exchanges },
    lines: [
      `${id} ${name}; roles: ${listed(roles)}; scopes: ${listed(scopes)}; audiences: ${listed(audiences)}`,
      ...credentials.map(
        ({ id, kind, name, expiresAt, lastUsedAt }) =>
          `  ${kind} ${id} ${name}; expires: ${expiresAt ?? 'never'}; last used: ${lastUsedAt ?? 'never'}`,
      ),
      ...exchanges.map(
        ({ id, from, audience, roles, scopes }) =>
          `  exchange ${id} from ${from} to ${audience}; roles: ${listed(roles)}; scopes: ${listed(scopes)}`,
      ),
    ],
  }
}

async function create(database: Database, { env }: Io, name: string, options: Options): Promise<Answer> {
  const { JWT_AUDIENCE: own } = readSettings(env, {
    JWT_AUDIENCE: text({ default: undefined, desc: 'as the auth service has it' }),
  })
  const { role: roles, scope: scopes, audience: audiences } = checked(options)
  if (name.length > 200 || !accountFormats.name(name)) throw new Error('the name has 1 to 200 characters on one line')
  if (audiences.length === 0 && own === undefined)
    throw new Error('say --audience, or set JWT_AUDIENCE as the auth service has it')
  const data = { name, roles, scopes, audiences: audiences.length > 0 ? audiences : [own as string] }
  const client = await database.client.create({ data })
  await note(database, 'client_created', client.id)
  return { value: viewClient(client, []), lines: [`made service account ${client.id}`] }
}

async function deleteOne(database: Database, { id }: Client): Promise<Answer> {
  await database.client.delete({ where: { id } })
  await note(database, 'client_deleted', id)
  return { value: { id, deleted: true }, lines: [`deleted service account ${id}; its tokens are refused from now on`] }
}

async function revoke(database: Database, { id: clientId }: Client, _: Options, id: string): Promise<Answer> {
  await remove(database.clientCredential, { id, clientId }, 'credential')
  await note(database, 'credential_revoked', clientId, id)
  return { value: { id, revoked: true }, lines: [`revoked ${id}; tokens that it got are refused from now on`] }
}

async function exchange(database: Database, { id: clientId }: Client, options: Options): Promise<Answer> {
  const { role: roles, scope: scopes, audience: audiences, from } = checked(options)
  const [audience] = audiences
  if (!from || !audience || audiences.length > 1) throw new Error('an exchange has --from and one --audience')
  const added = await addExchange(database, clientId, { from, audience, roles, scopes })
  await note(database, 'exchange_added', clientId, added.id)
  const line = `added exchange ${added.id}: ${clientId} may act for callers of ${from} at ${audience}`
  return { value: viewExchange(added), lines: [line] }
}

async function removeExchange(database: Database, { id: clientId }: Client, _: Options, id: string): Promise<Answer> {
  await remove(database.clientExchange, { id, clientId }, 'exchange')
  await note(database, 'exchange_removed', clientId, id)
  return { value: { id, removed: true }, lines: [`removed ${id}; tokens by it are refused from now on`] }
}

function checked(options: Options): Options {
  const { role, scope, audience, from } = options
  if (!role.every(isRole)) throw new Error('a role is a lower-case word')
  if (!areScopes(scope))
    throw new Error(
      'a scope is one word without quotes, after a --scope of its own; at most 32 of them, no two alike, 512 characters in all',
    )
  if (![...audience, ...(from === undefined ? [] : [from])].every(isAudience))
    throw new Error('an audience is a word without quotes of at most 128 characters')
  return options
}

function readNamed({ name, expires }: Options, kind: string): { name: string; expiresAt?: Date } {
  const seconds = expires === undefined ? undefined : readDuration(expires)
  if (expires !== undefined && !seconds) throw new Error(`--expires ${expires} is not a span of time such as 90d`)
  return {
    name: name ?? kind,
    ...(seconds && { expiresAt: new Date(Date.now() + seconds * 1000) }),
  }
}

function readKeyFile({ jwks, pem }: Options) {
  const file = jwks ?? pem
  if (file === undefined || (jwks !== undefined && pem !== undefined)) throw new Error('keys are in --jwks or in --pem')
  const text = readFileSync(file, 'utf8')
  try {
    return readJwks(jwks === undefined ? { keys: [publicJwk(toKey(text))] } : toJson(text))
  } catch (error) {
    throw new Error(`${file}: ${(error as Error).message}`)
  }
}

function toKey(pem: string): KeyObject {
  try {
    return createPublicKey(pem)
  } catch {
    throw new Error('it is no key in PEM; --jwks takes a JWK Set')
  }
}

function toJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new Error('it is no JSON; --pem takes a key in PEM')
  }
}

/** Shows what was made on a line of its own, so that it can be put where it belongs: nothing shows it again. */
async function add(database: Database, { id: clientId }: Client, credential: NewCredential): Promise<Answer> {
  const { credential: made, ...secrets } = await addCredential(database, clientId, credential)
  await note(database, 'credential_added', clientId, made.id)
  const shown = [secrets.clientSecret ?? secrets.apiKey].filter((secret) => secret !== undefined)
  return { value: { ...viewCredential(made), ...secrets }, lines: [`added ${made.kind} ${made.id}`, ...shown] }
}

async function find(database: Database, id: string) {
  const include = { credentials: true, exchanges: true }
  const client = isUuid(id) ? await database.client.findUnique({ where: { id }, include }) : null
  if (!client) throw new Error(`there is no service account ${id}`)
  return client
}

async function remove(
  rows: { deleteMany(of: { where: { id: string; clientId: string } }): PromiseLike<{ count: number }> },
  where: { id: string; clientId: string },
  what: string,
): Promise<void> {
  const known = Object.values(where).every(isUuid) && (await rows.deleteMany({ where })).count > 0
  if (!known) throw new Error(`the service account ${where.clientId} has no ${what} ${where.id}`)
}

const listed = (values: string[]) => values.join(' ') || 'none'

function note(database: Database, event: SecurityEvent['event'], client: string, session?: string): Promise<void> {
  const log = createLogger('clients', 'silent')
  return record(database, log, { event, client, session, reason: 'on the command line' })
}
