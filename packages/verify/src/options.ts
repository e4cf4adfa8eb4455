import type { ForeignIssuer } from './issuer.ts'

/** An issuer, with the address of its keys or of its metadata; without either those are asked for below the issuer itself. */
export type OtherIssuer = ForeignIssuer & { jwks?: string; discovery?: string }

export interface VerifierOptions {
  /** Sallyport's auth service: its JWT_ISSUER and JWT_AUDIENCE, and where its keys are. Not needed with other issuers alone. */
  issuer?: string
  audience?: string
  jwks?: string
  /** Its stream of what ends tokens before they expire. Without it a token is good for as long as it says. */
  revocations?: FollowedStream
  /** Others, by their own forms of tokens. */
  issuers?: readonly OtherIssuer[]
  /** How old keys may grow, in seconds: 5 minutes if not set. */
  maxAge?: number
  /**
   * Keys cannot be fetched, or the revocation stream is lost: once, and again when that has another reason or comes back
   * after it was over. One line of `console.warn` if not set.
   */
  onUnavailable?(error: Error): void
}

interface FollowedStream {
  /** The auth service's `/internal/revocations`. */
  url: string
  /** Its REVOCATIONS_SECRET. */
  secret?: string
  /** Whether to refuse every token of Sallyport while the stream has been away for `maxAge` seconds: 30 if not set. */
  failClosed?: boolean
  maxAge?: number
}

type Known<Options> = Record<keyof Options, true>

const known: Known<VerifierOptions> = {
  issuer: true,
  audience: true,
  jwks: true,
  revocations: true,
  issuers: true,
  maxAge: true,
  onUnavailable: true,
}
const knownOfStream: Known<FollowedStream> = { url: true, secret: true, failClosed: true, maxAge: true }
const knownOfIssuer: Known<OtherIssuer> = {
  issuer: true,
  jwks: true,
  discovery: true,
  audience: true,
  types: true,
  algorithms: true,
  claims: true,
  roleMap: true,
  require: true,
  clients: true,
}
const knownOfClaims: Known<NonNullable<OtherIssuer['claims']>> = {
  subject: true,
  audience: true,
  roles: true,
  email: true,
  session: true,
  scopes: true,
  acr: true,
}

/**
 * Refuses what would be passed over and leave tokens good that are not: a key that is misspelled or in another place, and
 * one whose value is undefined, as that of a variable which is not set.
 *
 * @throws Error which names the key
 */
export function checkKeys(options: VerifierOptions): void {
  check('', options, known)
  const { revocations, issuers = [], maxAge } = options
  checkSeconds('maxAge', maxAge)
  if (revocations !== undefined) {
    const { secret, failClosed = false, maxAge } = check('revocations', revocations, knownOfStream)
    if (secret === '') throw new Error('revocations.secret is empty; set it, or leave it out')
    if (typeof failClosed !== 'boolean') throw new Error('revocations.failClosed is true or false')
    checkSeconds('revocations.maxAge', maxAge)
  }
  for (const [index, issuer] of issuers.entries()) {
    const name = `issuers[${index}]`
    const { claims, require } = check(name, issuer, knownOfIssuer)
    if (claims !== undefined) check(`${name}.claims`, claims, knownOfClaims)
    if (require !== undefined) check(`${name}.require`, require)
  }
}

/** @param known of any key if left out */
function check<Options extends object>(name: string, options: Options, known?: Known<Options>): Options {
  if (typeof options !== 'object' || options === null)
    throw new Error(`${name || 'what is given'} is no object of options`)
  for (const [key, value] of Object.entries(options)) {
    const place = name ? `${name}.${key}` : key
    if (known && !Object.hasOwn(known, key))
      throw new Error(`${place} is no option; those of ${name || 'a verifier'} are ${Object.keys(known).join(', ')}`)
    if (value === undefined) throw new Error(`${place} is undefined; set it, or leave it out`)
  }
  return options
}

function checkSeconds(name: string, seconds: number | undefined): void {
  if (seconds !== undefined && !(typeof seconds === 'number' && seconds > 0))
    throw new Error(`${name} is a number of seconds, more than 0`)
}
