import { createHash } from 'node:crypto'
import { isRole, isUuid, mostRoles, spellingsOf, toMailbox } from '@sallyport/identity'
import type { FactorKey } from '../../factors/factor-key.ts'
import { noPassword } from '../../passwords/stored-hash.ts'
import { accountFormats, isLocale, longestName } from '../fields.ts'
import type { Person } from './person.ts'
import type { Source } from './sources.ts'

export interface Rules {
  source: Source
  /** Roles here, by those of the other system. No other role is taken over. */
  roles: ReadonlyMap<string, string>
  /** Of whoever would have none. */
  defaultRole: string | undefined
  /** Whether to take over addresses that nobody has shown to be theirs. */
  includeUnverified: boolean
}

/** What is left out, and why: a person as a whole, or something of them. */
export interface LeftOut {
  what: 'user' | 'password' | 'totp' | 'role' | 'name'
  why: string
}

/** An account to make. */
export interface Account {
  id: string
  email: string
  /** Under which others may have it. */
  spellings: string[]
  name: string
  hash: string
  roles: string[]
  locale: string | null
  disabled: boolean
  createdAt: string | null
  /** The secret of an authenticator app, sealed. */
  secret: string | null
  keyId: string | null
}

export interface Prepared {
  account?: Account
  leftOut: LeftOut[]
}

/** @throws Error if there is a secret of an authenticator app, and no key to seal it with */
export function prepare(person: Person, rules: Rules, factorKey: FactorKey | undefined): Prepared {
  const refuse = (why: string): Prepared => ({ leftOut: [{ what: 'user', why }] })
  if (person.gone) return refuse('no account of a person, or deleted')
  if (person.email === undefined) return refuse('no address')
  const email = toMailbox(person.email)
  if (email === undefined) return refuse('invalid address')
  if (!person.verified && !rules.includeUnverified) return refuse('unverified address')

  const leftOut: LeftOut[] = []
  const leave = (what: LeftOut['what'], why: string) => void leftOut.push({ what, why })
  const roles = rolesOf(person, rules, leave)
  if (roles.length === 0) return { leftOut: [...leftOut, { what: 'user', why: 'no role' }] }
  if (person.hash === undefined) leave('password', 'no password')
  if (person.hash === null) leave('password', 'hash of an unknown form, or too costly')
  if (person.totp === null) leave('totp', 'secret not readable, or of another kind of second factor')
  const name = person.name?.trim() ?? ''
  const isName = accountFormats.name(name) && [...name].length <= longestName
  if (!isName && name !== '') leave('name', 'not a line of text of at most 200 characters')
  const id = idOf(person, email, rules.source)
  const account = {
    ...{ id, email, spellings: spellingsOf(person.email), roles },
    name: isName ? name : (email.split('@')[0] as string),
    hash: person.hash ?? noPassword,
    locale: person.locale !== undefined && isLocale(person.locale) ? person.locale : null,
    disabled: person.disabled,
    createdAt: pastInstant(person.createdAt),
    secret: null,
    keyId: null,
  }
  return { account: person.totp ? { ...account, ...sealed(person.totp, id, factorKey) } : account, leftOut }
}

function rolesOf(person: Person, { roles, defaultRole }: Rules, leave: (what: 'role', why: string) => void): string[] {
  const mapped = person.roles.flatMap((role) => {
    const here = roles.get(role)
    if (here === undefined) leave('role', `not in the map: ${JSON.stringify(role.slice(0, 100))}`)
    return here ?? []
  })
  const all = [...new Set(mapped)].slice(0, mostRoles)
  return all.length === 0 && defaultRole !== undefined ? [defaultRole] : all
}

/**
 * The id that the other system has, if it is a UUID, so that what refers to it elsewhere goes on; else one made of it
 * (RFC 9562, version 5), which is the same whenever the person is imported.
 */
function idOf({ id }: Person, email: string, source: Source): string {
  if (isUuid(id?.toLowerCase())) return (id as string).toLowerCase()
  const digest = createHash('sha1')
    .update(namespace)
    .update(`${source} ${id ?? email}`)
    .digest()
  digest[6] = ((digest[6] as number) & 0x0f) | 0x50
  digest[8] = ((digest[8] as number) & 0x3f) | 0x80
  return digest.toString('hex', 0, 16).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}

const namespace = Buffer.from('b1d64b5e9a0e4b7a8d0f6c1f2e3d4c5b', 'hex')

function pastInstant(given: string | number | undefined): string | null {
  // Databases print a space in the place of the T, and hours alone of a zone.
  const text = typeof given === 'string' && /^\d+$/.test(given) ? Number(given) : given
  const at = new Date(typeof text === 'string' ? text.replace(/([+-]\d\d)$/, '$1:00') : (text ?? Number.NaN))
  const isPast = at.getTime() > 0 && at.getTime() <= Date.now()
  return isPast ? at.toISOString() : null
}

function sealed(secret: string, id: string, factorKey: FactorKey | undefined): Pick<Account, 'secret' | 'keyId'> {
  if (!factorKey)
    throw new Error('the export has secrets of authenticator apps; set FACTOR_KEY as the auth service has it')
  return { secret: factorKey.seal(secret, id), keyId: factorKey.ids[0] }
}

export const requireRole = (role: string): string => {
  if (isRole(role)) return role
  throw new Error(`"${role}" cannot be a role; roles are lower-case words, such as admin`)
}
