import { readStored } from '../../passwords/stored-hash.ts'
import { type Fields, fieldsOf, textOf, wordOf } from './person.ts'

/** What another system kept of a password, in the form that is stored here: null where there is none for it. */
type Converted = string | null

const comparable = (stored: string): Converted => (readStored(stored) ? stored : null)

/** The base64 of PHC strings, which has no padding; Firebase's own has the alphabet for addresses. */
const plain = (base64: string) => base64.replaceAll('-', '+').replaceAll('_', '/').replace(/=+$/, '')
const encode = (octets: string, encoding: BufferEncoding) => plain(Buffer.from(octets, encoding).toString('base64'))

/** A hash as its library writes it: a PHC string, or one of those that came before there were any. */
export function fromText(exported: string): Converted {
  const [, N, r, separator = '', signerKey = '', salt = '', hash = ''] = ofSupabase.exec(exported) ?? []
  if (hash)
    return fromFirebase({ memCost: Number(N), rounds: Number(r), saltSeparator: separator, signerKey }, salt, hash)
  if (betterAuth.test(exported)) return fromBetterAuth(exported)
  return comparable(exported.replace(/^\{CRYPT\}/i, '').replace(/^\{ssha/i, '{SSHA'))
}

/** What Supabase makes of hashes that came from Firebase. */
const ofSupabase =
  /^\$fbscrypt\$v=1,n=(\d{1,2}),r=(\d{1,2}),p=1(?:,ss=([^,$]{0,24}))?,sk=([^,$]{20,180})\$([^$]+)\$([^$]+)$/

const betterAuth = /^[0-9a-f]{32}:[0-9a-f]{128}$/

/** Better Auth: the salt is the text of its digits, and the password in Unicode's form NFKC. */
function fromBetterAuth(exported: string): Converted {
  const [salt = '', key = ''] = exported.split(':')
  return comparable(`$scrypt$ln=14,r=16,p=1,u=nfkc$${encode(salt, 'utf8')}$${encode(key, 'hex')}`)
}

/** What the passwords of a Firebase project have in common. */
export interface FirebaseParameters {
  memCost: number
  rounds: number
  saltSeparator: string
  signerKey: string
}

export function fromFirebase(parameters: FirebaseParameters, salt: string, hash: string): Converted {
  const { memCost, rounds, saltSeparator, signerKey } = parameters
  const parts = [salt, saltSeparator, signerKey, hash].map(plain)
  return comparable(`$firebase-scrypt$ln=${memCost},r=${rounds}$${parts.join('$')}`)
}

/** A credential of Keycloak, of type `password`. */
export function fromKeycloak(secretData: Fields, credentialData: Fields): Converted {
  const { value, salt } = secretData
  const { algorithm } = credentialData
  const iterations = wordOf(credentialData.hashIterations)
  if (typeof value !== 'string' || typeof salt !== 'string' || typeof algorithm !== 'string') return null
  const parts = `${plain(salt)}$${plain(value)}`
  if (/^pbkdf2(-sha(256|512))?$/.test(algorithm)) return comparable(`$${algorithm}$${iterations}$${parts}`)
  if (algorithm !== 'argon2') return null
  // Each of them is a list of one.
  const one = (name: string) => wordOf([fieldsOf(credentialData.additionalParameters)[name]].flat()[0])
  const version = one('version') === '1.0' ? 16 : 19
  const costs = `m=${one('memory')},t=${iterations},p=${one('parallelism')}`
  return comparable(`$argon2${one('type')}$v=${version}$${costs}$${parts}`)
}

/** `custom_password_hash` of Auth0's bulk import, which is what people keep who brought their hashes there. */
export function fromAuth0(custom: Fields): Converted {
  const { algorithm, keylen } = custom
  const hash = fieldsOf(custom.hash)
  const salt = fieldsOf(custom.salt)
  const [value, saltValue] = [textOf(hash.value), textOf(salt.value) ?? '']
  if (value === undefined) return null
  if (algorithm !== 'scrypt') return fromText(algorithm === 'ldap' ? value : plain(value))
  const encoding = (given: unknown, otherwise: BufferEncoding) =>
    given === 'hex' || given === 'utf8' || given === 'base64' ? given : otherwise
  const key = encode(value, encoding(hash.encoding, 'base64'))
  if (keylen !== undefined && keylen !== Buffer.from(key, 'base64').length) return null
  const [N, r, p] = [custom.cost ?? 16384, custom.blockSize ?? 8, custom.parallelization ?? 1].map(wordOf)
  const costs = `ln=${Math.log2(Number(N))},r=${r},p=${p}`
  return comparable(`$scrypt$${costs}$${encode(saltValue, encoding(salt.encoding, 'utf8'))}$${key}`)
}
