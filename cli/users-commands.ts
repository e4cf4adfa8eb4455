import { text as readAll } from 'node:stream/consumers'
import { createUser, readEmail, readRoles } from '@sallyport/auth/accounts/create-user'
import { isLocale } from '@sallyport/auth/accounts/fields'
import { findByAddress } from '@sallyport/auth/accounts/find-by-address'
import { changeUser, eventsOf } from '@sallyport/auth/admin/change-user'
import { viewEvent } from '@sallyport/auth/admin/events'
import { lastAdmin } from '@sallyport/auth/admin/fields'
import { invite as inviteByMail, viewInvitation } from '@sallyport/auth/admin/invitations'
import { listUsers } from '@sallyport/auth/admin/list-users'
import { detailsOf } from '@sallyport/auth/admin/user-details'
import { viewUser } from '@sallyport/auth/admin/user-view'
import { record, type SecurityEvent } from '@sallyport/auth/events/security-events'
import { resetFactors as takeFactors } from '@sallyport/auth/factors/reset'
import { createNotify } from '@sallyport/auth/mail/queue'
import { unlockUser } from '@sallyport/auth/passwords/throttle'
import { endAllSessions } from '@sallyport/auth/sessions/end'
import { sessionsOf } from '@sallyport/auth/sessions/own-sessions'
import { createDerivedKeys } from '@sallyport/auth/tokens/derived-keys'
import { choice, createLogger, readSettings, secrets, smtpServer, text } from '@sallyport/chassis'
import type { Database, User } from '@sallyport/database'
import { isUuid } from '@sallyport/identity'
import type { Command } from 'commander'
import { type Answer, answering } from './answer.ts'
import { withDatabase } from './database.ts'
import type { AddCommands, Io } from './io.ts'
import { mostOf } from './options.ts'
import { tableOf } from './table.ts'

interface ListOptions {
  email?: string
  role?: string
  disabled?: boolean
  after?: string
  limit: number
}

/** What a command about one person does, and says. */
type Work = (database: Database, user: User, io: Io) => Promise<Answer>

/** People and their accounts, as the pages for administrators have them. */
export const addUsers: AddCommands = (program, io) => {
  const users = program.command('users').description('people and their accounts: docs/operations.md')
  const about = (name: string, description: string) => users.command(name).description(description)
  const one = (name: string, description: string) =>
    about(name, description).argument('<person>', 'an e-mail address or an id')
  const ofOne = (command: Command, work: Work) =>
    command.action(
      answering(io, (person: string) =>
        withDatabase(io, async (database) => work(database, await find(database, person), io)),
      ),
    )

  about('list', 'the users, page by page')
    .option('--email <part>', 'whose address has this in it')
    .option('--role <role>', 'who have this role')
    .option('--disabled', 'who are disabled')
    .option('--limit <number>', 'how many at most', mostOf(1_000), 20)
    .option('--after <id>', 'those after this one, the last of the page before')
    .action(answering(io, (options: ListOptions) => withDatabase(io, (database) => list(database, options))))
  about('create', 'make an account; its password is read from standard input')
    .argument('<email>', 'the address')
    .argument('<name>', "the person's name")
    .argument('<role...>', 'roles, the main one first')
    .action(
      answering(io, (email: string, name: string, roles: string[]) =>
        withDatabase(io, (database) => create(database, io, { email, name, roles })),
      ),
    )
  about('invite', 'invite somebody by a mail, whose reader makes the account')
    .argument('<email>', 'the address')
    .argument('<role...>', 'roles, the main one first')
    .option('--locale <locale>', 'the language of the mail, such as de')
    .action(
      answering(io, (email: string, roles: string[], { locale }: { locale?: string }) =>
        withDatabase(io, (database) => invite(database, io, { email, roles, locale })),
      ),
    )
  ofOne(one('show', 'one of them, and how they use the account'), show)
  ofOne(one('disable', 'end every session, and let the user sign in no more'), change(true))
  ofOne(one('enable', 'let the user sign in again'), change(false))
  ofOne(one('unlock', 'forget the wrong passwords that came for the user'), unlock)
  ofOne(one('reset-factors', 'take every second factor away, and end every session'), resetFactors)
  ofOne(one('end-sessions', 'end every session'), endSessions)
  ofOne(one('sessions', 'the sessions that go on, and those that ended within a day'), listSessions)
  one('events', 'the security events of a user, the newest first')
    .option('--limit <number>', 'how many at most', mostOf(1_000), 20)
    .action(
      answering(io, (person: string, { limit }: { limit: number }) =>
        withDatabase(io, (database) => listEvents(database, person, limit)),
      ),
    )
}

async function find(database: Database, person: string): Promise<User> {
  const byId = () => database.user.findUnique({ where: { id: person } })
  const user = isUuid(person) ? await byId() : await findByAddress(database, person)
  if (!user) throw new Error(`there is no user ${person}`)
  return user
}

async function list(database: Database, { limit, after: cursor, ...filter }: ListOptions): Promise<Answer> {
  if (cursor !== undefined && !isUuid(cursor)) throw new Error(`${cursor} is not the id of a user`)
  const { users, nextCursor } = await listUsers(database, { ...filter, cursor }, limit)
  const rows = users.map((user) => [user.email, user.name, user.roles.join(' '), stateOf(viewUser(user))])
  const more = nextCursor === null ? [] : [`there are more: --after ${nextCursor}`]
  return {
    value: { users: users.map(viewUser), nextCursor },
    lines: [...tableOf([['email', 'name', 'roles', 'state'], ...rows]), ...more],
  }
}

async function create(
  database: Database,
  { env, stdin }: Io,
  user: { email: string; name: string; roles: string[] },
): Promise<Answer> {
  const { BREACHED_PASSWORDS: breached } = readSettings(env, {
    BREACHED_PASSWORDS: text({ default: undefined, desc: 'as the auth service has it' }),
  })
  // A line that is typed or piped ends with a line break, which is not of the password.
  const password = (await readAll(stdin)).replace(/\r?\n$/, '')
  const id = await createUser(database, { ...user, password }, breached)
  return { value: viewUser(await find(database, id)), lines: [`made user ${id}`] }
}

async function invite(
  database: Database,
  { env }: Io,
  { email, roles, locale }: { email: string; roles: string[]; locale: string | undefined },
): Promise<Answer> {
  const { REGISTRATION: registration } = readSettings(env, {
    SMTP_URL: smtpServer({ desc: 'as the auth service has it, which then sends the mail' }),
    REGISTRATION: choice('closed', 'invite', 'open')({ default: 'invite', desc: 'as the auth service has it' }),
  })
  if (registration === 'closed') throw new Error('nobody can be invited here: REGISTRATION is closed')
  if (locale !== undefined && !isLocale(locale)) throw new Error(`"${locale}" is no language tag, such as de`)
  const person = { email: readEmail(email), roles: readRoles(roles), locale }
  const invitation = await inviteByMail(database, derivedKeys(env), person)
  await note(database, 'user_invited', undefined, `invitation ${invitation.id} on the command line`)
  const until = invitation.expiresAt.toISOString()
  return { value: viewInvitation(invitation), lines: [`invited ${invitation.email}, until ${until}`] }
}

const show: Work = async (database, user) => {
  const details = await detailsOf(database, user)
  const { id, email, name, roles, sessions, lastSignInAt, secondFactor, failures, createdAt } = details
  return {
    value: details,
    lines: tableOf([
      ['id', id],
      ['email', email],
      ['name', name],
      ['roles', roles.join(' ')],
      ['state', stateOf(details)],
      ['second factor', secondFactor ? 'yes' : 'no'],
      ['sessions', String(sessions)],
      ['last sign-in', lastSignInAt ?? 'never'],
      ['wrong passwords', String(failures)],
      ['since', createdAt],
    ]),
  }
}

const change =
  (disabled: boolean): Work =>
  async (database, { id, email }) => {
    const outcome = await changeUser(database, id, { disabled })
    if (outcome.kind === 'unknown') throw new Error(`there is no user ${id}`)
    if (outcome.kind === 'last_admin') throw lastAdmin()
    for (const event of eventsOf(outcome.before, outcome.after)) await note(database, event, id)
    const line = disabled ? `${email} is disabled, and has no session` : `${email} is enabled`
    return { value: viewUser(outcome.after), lines: [line] }
  }

const unlock: Work = async (database, user, { env }) => {
  await unlockUser(database, derivedKeys(env), user)
  await note(database, 'user_unlocked', user.id)
  return {
    value: { id: user.id, unlocked: true },
    lines: [`the next password for ${user.email} is tried, wherever it comes from`],
  }
}

const resetFactors: Work = async (database, { id, email }, { env }) => {
  const { SMTP_URL: server } = readSettings(env, {
    SMTP_URL: smtpServer({ default: undefined, desc: 'as the auth service has it, which then sends the mail' }),
  })
  const missing = await takeFactors(database, id, createNotify(server))
  if (missing) throw new Error(missing === 'no factor' ? `${email} has no second factor` : `there is no user ${id}`)
  await note(database, 'factors_reset', id)
  return {
    value: { id, secondFactor: false },
    lines: [`took the second factors of ${email} away, and ended every session`],
  }
}

const endSessions: Work = async (database, { id, email }) => {
  const ended = await endAllSessions(database, id, 'revoked_by_admin')
  await note(database, 'sessions_ended', id, 'revoked_by_admin on the command line')
  return { value: { id, ended }, lines: [`ended ${ended} ${ended === 1 ? 'session' : 'sessions'} of ${email}`] }
}

const listSessions: Work = async (database, { id }) => {
  const value = await sessionsOf(database, id, '')
  const rows = [
    ...value.sessions.map((session) => ({ ...session, state: `until ${session.expiresAt}` })),
    ...value.ended.map((session) => ({ ...session, state: `ended ${session.endedAt} ${session.reason}` })),
  ].map(({ device, ip, lastUsedAt, actor, state }) => [
    actor ? `${device}, ${actor.name ?? actor.id} as the user` : device,
    ip ?? '',
    lastUsedAt,
    state,
  ])
  return { value, lines: tableOf([['device', 'address', 'last used', 'state'], ...rows]) }
}

/** Also of a user who was erased, by the id. */
async function listEvents(database: Database, person: string, take: number): Promise<Answer> {
  const userId = isUuid(person) ? person : (await find(database, person)).id
  const found = await database.securityEvent.findMany({
    where: { userId },
    orderBy: [{ at: 'desc' }, { id: 'desc' }],
    take,
  })
  const events = found.map(viewEvent)
  const rows = events.map(({ at, event, ip, reason }) => [at, event, ip ?? '', reason ?? ''])
  return { value: { events }, lines: tableOf([['at', 'event', 'address', 'reason'], ...rows]) }
}

function stateOf({ disabled, hasPassword, deleteAfter }: ReturnType<typeof viewUser>): string {
  if (deleteAfter !== null) return `erased at ${deleteAfter}`
  if (disabled) return 'disabled'
  return hasPassword ? 'active' : 'no password yet'
}

/** Of the secrets that the auth service has, which opens what is sealed here. */
function derivedKeys(env: Io['env']) {
  const { JWT_REFRESH_SECRET: refreshSecrets } = readSettings(env, {
    JWT_REFRESH_SECRET: secrets(env)({ desc: 'random secrets, as the auth service has them' }),
  })
  return createDerivedKeys({ current: { refreshSecrets } })
}

function note(
  database: Database,
  event: SecurityEvent['event'],
  user: string | undefined,
  reason = 'on the command line',
): Promise<void> {
  return record(database, createLogger('command line', 'silent'), { event, user, reason })
}
