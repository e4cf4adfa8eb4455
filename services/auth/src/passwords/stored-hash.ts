/** What is stored of a user who has chosen no password yet. It compares with none. */
export const noPassword = '!'

/** A hash that a password may be compared with, as it was read. All but argon2 are of systems that people were imported from. */
export type StoredHash =
  | { kind: 'argon2'; text: string }
  | { kind: 'bcrypt'; text: string }
  | { kind: 'scrypt'; cost: Scrypt; salt: Buffer; tag: Buffer; compatibility: boolean }
  | { kind: 'firebase-scrypt'; cost: Scrypt; salt: Buffer; signerKey: Buffer; tag: Buffer }
  | { kind: 'pbkdf2'; digest: string; iterations: number; salt: Buffer; tag: Buffer }
  | { kind: 'phpass'; rounds: number; salt: string; tag: string }
  | { kind: 'ssha'; digest: string; salt: Buffer; tag: Buffer }

export type Kind = StoredHash['kind']

interface Scrypt {
  N: number
  r: number
  p: number
}

type Read = (groups: Record<string, string>, text: string) => StoredHash | false

const bytes = (base64: string) => Buffer.from(base64.replaceAll('.', '+'), 'base64')

/** Octets of memory: of what is compared at once, four have it. */
const mostMemory = 128 * 1024 * 1024

/** Of scrypt, 0.7 s on one core of a server of today; the same of 2^14 for bcrypt, argon2 with ten passes, and the others. */
const mostScrypt = 2 ** 21
const mostBcrypt = 14
const mostIterations = 2_000_000
const mostPhpass = 16

function readScrypt({ ln, r = '', p = '1' }: Record<string, string>): Scrypt | undefined {
  const cost = { N: 2 ** Number(ln), r: Number(r), p: Number(p) }
  const isBounded = 128 * cost.N * cost.r <= mostMemory && cost.N * cost.r * cost.p <= mostScrypt
  return isBounded && cost.N > 1 && cost.r > 0 && cost.p > 0 ? cost : undefined
}

const digestLengths: Record<string, number> = { sha1: 20, sha256: 32, sha512: 64 }

/** How phpass counts to 63. */
export const itoa64 = './0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

/**
 * The forms, and how each is read: false where it would take more than is bounded above. Who wrote that into the database,
 * or into an export, would otherwise decide what a login costs. Salts and tags are long enough to mean anything.
 */
const forms: [RegExp, Read][] = [
  [
    /^\$argon2(?:id|i|d)\$v=(?:16|19)\$(?<parameters>[mtp]=\d{1,6}(?:,[mtp]=\d{1,6}){2})\$(?<salt>[A-Za-z0-9+/]{11,86})\$(?<tag>[A-Za-z0-9+/]{22,86})$/d,
    ({ parameters = '' }, text) => {
      const pairs = parameters.split(',').map((one) => one.split('='))
      const { m = 0, t = 0, p = 0 } = Object.fromEntries(pairs.map(([name, value]) => [name, Number(value)]))
      const isBounded = p >= 1 && p <= 16 && m >= 8 * p && m * 1024 <= mostMemory && t >= 1 && t <= 10
      return isBounded && { kind: 'argon2', text }
    },
  ],
  [
    /^\$2[aby]\$(?<cost>\d\d)\$(?<salt>[./A-Za-z0-9]{22})(?<tag>[./A-Za-z0-9]{31})$/d,
    ({ cost }, text) => Number(cost) >= 4 && Number(cost) <= mostBcrypt && { kind: 'bcrypt', text },
  ],
  [
    /^\$scrypt\$ln=(?<ln>\d{1,2}),r=(?<r>\d{1,3}),p=(?<p>\d{1,3})(?<nfkc>,u=nfkc)?\$(?<salt>[A-Za-z0-9+/]{6,172})\$(?<tag>[A-Za-z0-9+/]{22,172})$/d,
    ({ salt = '', tag = '', nfkc, ...parameters }) => {
      const cost = readScrypt(parameters)
      return !!cost && { kind: 'scrypt', cost, salt: bytes(salt), tag: bytes(tag), compatibility: nfkc !== undefined }
    },
  ],
  [
    /^\$firebase-scrypt\$ln=(?<ln>\d{1,2}),r=(?<r>\d{1,3})\$(?<salt>[A-Za-z0-9+/]{6,86})\$(?<separator>[A-Za-z0-9+/]{0,22})\$(?<signerKey>[A-Za-z0-9+/]{22,172})\$(?<tag>[A-Za-z0-9+/]{22,172})$/d,
    ({ salt = '', separator = '', signerKey = '', tag = '', ...parameters }) => {
      const cost = readScrypt(parameters)
      const salted = Buffer.concat([bytes(salt), bytes(separator)])
      const sealed = { salt: salted, signerKey: bytes(signerKey), tag: bytes(tag) }
      return !!cost && sealed.tag.length === sealed.signerKey.length && { kind: 'firebase-scrypt', cost, ...sealed }
    },
  ],
  [
    /^\$pbkdf2(?:-(?<digest>sha1|sha256|sha512))?\$(?:i=)?(?<i>\d{1,7})(?:,l=\d{1,3})?\$(?<salt>[A-Za-z0-9+/.]{4,172})\$(?<tag>[A-Za-z0-9+/.]{22,172})$/d,
    ({ digest = 'sha1', i, salt = '', tag = '' }) => {
      const hash = { digest, iterations: Number(i), salt: bytes(salt), tag: bytes(tag) }
      const blocks = Math.ceil(hash.tag.length / (digestLengths[digest] as number))
      const isBounded = hash.iterations >= 1 && hash.iterations * blocks <= mostIterations
      return isBounded && { kind: 'pbkdf2', ...hash }
    },
  ],
  [
    /^\$[PH]\$(?<cost>[./0-9A-Za-z])(?<salt>[./0-9A-Za-z]{8})(?<tag>[./0-9A-Za-z]{22})$/d,
    ({ cost = '', salt = '', tag = '' }) => {
      const log = itoa64.indexOf(cost)
      return log >= 7 && log <= mostPhpass && { kind: 'phpass', rounds: 2 ** log, salt, tag }
    },
  ],
  [
    /^\{SSHA(?<bits>256|512|)\}(?<salt>[A-Za-z0-9+/]{30,172})={0,2}$/d,
    ({ bits, salt = '' }) => {
      const digest = bits ? `sha${bits}` : 'sha1'
      const [both, length] = [bytes(salt), digestLengths[digest] as number]
      const hash = { digest, tag: both.subarray(0, length), salt: both.subarray(length) }
      return hash.salt.length >= 4 && hash.salt.length <= 64 && { kind: 'ssha', ...hash }
    },
  ],
]

/**
 * Reads what is stored as a hash that may be compared with. What others have put there (nothing, a form that we do not
 * know, half a hash) is none, nor is one that would take more memory or time than is bounded here.
 */
export function readStored(stored: string): StoredHash | undefined {
  for (const [pattern, read] of forms) {
    const groups = pattern.exec(stored)?.groups
    if (groups) return read(groups, stored) || undefined
  }
  return undefined
}

/** A hash like a stored one in all that its comparison takes time for, with another salt. */
export function withSalt(stored: string, makeSalt: (length: number) => string): string {
  for (const [pattern] of forms) {
    const [from, to] = pattern.exec(stored)?.indices?.groups?.salt ?? []
    if (from !== undefined && to !== undefined) return stored.slice(0, from) + makeSalt(to - from) + stored.slice(to)
  }
  return stored
}

/** What hashes have in common whose comparison takes as long: all but salt and tag, of which the lengths. */
export function shapeOf(stored: string): string {
  return withSalt(stored, (length) => `<${length}>`).replace(/[A-Za-z0-9+/.]{22,}(?==*$)/, (tag) => `<${tag.length}>`)
}
