import type { CryptoKey } from 'jose'
import {
  createTokenReader,
  forAudience,
  isStillValid,
  readBearer,
  refused,
  type VerifiedToken,
} from './access-token.ts'
import { usualAlgorithms } from './algorithm.ts'
import type { Identity } from './identity.ts'
import { algorithmsOf, foreignIssuer, type Issuer, ownIssuer } from './issuer.ts'
import { discoveryOf, type KeySource, openKeySet } from './key-set.ts'
import { checkKeys, type OtherIssuer, type VerifierOptions } from './options.ts'
import { reasonOf } from './outage.ts'
import { Problem } from './problem.ts'
import { openRevocations } from './revocations.ts'
import { isWebAddress, withoutUser } from './web-address.ts'
import { importKey, isSigned } from './web-crypto.ts'

export interface Verifier {
  /**
   * Whose access token this is.
   *
   * @param audience under which routes here are known: tokens of Sallyport for them alone are good too
   * @throws Problem 401 TOKEN_INVALID, TOKEN_EXPIRED, SESSION_ENDED or TOKEN_STALE; 503 while keys could not be fetched
   */
  verify(token: string, audience?: string): Promise<Identity>
  /**
   * The same by the `Authorization` of a request.
   *
   * @param authorization the value of the one header, with a bearer token (RFC 6750); null or undefined if there is none
   * @throws Problem also 401 TOKEN_MISSING
   */
  authenticate(authorization: string | null | undefined, audience?: string): Promise<Identity>
  /** Resolves once the keys of every issuer were fetched. @throws Problem 503 if those of one cannot be */
  ready(): Promise<void>
  /** Ends what goes on in the background. */
  close(): void
}

/** Tokens that were valid: so many are kept, and none beyond its end. */
const mostKept = 10_000

/**
 * Verifies access tokens (RFC 9068, RFC 8725) where no gateway does, by the same rules. Keys are fetched when a token asks
 * for them.
 *
 * It knows whose a token is, and not what the caller may do. Without `revocations` it does not know what has ended since,
 * and of other issuers never.
 *
 * @throws Error for options that do not say whose tokens are taken, or that make no sense
 */
export function createVerifier(options: VerifierOptions): Verifier {
  checkKeys(options)
  const { maxAge = 300, revocations: stream, onUnavailable = warn } = options
  const issuers = new Map<string, Issuer<CryptoKey>>()
  const add = (issuer: Issuer<CryptoKey>) => {
    if (issuers.has(issuer.name)) throw new Error(`the issuer ${issuer.name} is there twice; keep one`)
    issuers.set(issuer.name, issuer)
  }
  // Apart from what is under way here, which goes on whatever becomes of it there.
  const report = (what: string) => (cause: unknown) =>
    queueMicrotask(() => onUnavailable(new Error(`${what}: ${reasonOf(cause)}`, { cause })))
  const open = (name: string, source: KeySource, algorithms = usualAlgorithms) =>
    openKeySet(source, {
      algorithms,
      importKey,
      maxAge: maxAge * 1000,
      onFailure: report(`the keys of ${name} cannot be fetched`),
    })
  const { issuer, audience, jwks } = options
  if (issuer && audience && jwks) add(ownIssuer(issuer, audience, open(issuer, { jwks: address(jwks) })))
  else if ('issuer' in options || 'audience' in options || 'jwks' in options)
    throw new Error('issuer, audience and jwks go together; set all three')
  for (const one of options.issuers ?? []) {
    if (!one.issuer || !one.audience?.length) throw new Error('each of issuers has an issuer and an audience; set both')
    add(foreignIssuer(one, open(one.issuer, keysOf(one), algorithmsOf(one))))
  }
  if (issuers.size === 0)
    throw new Error('whose tokens are taken is not said; set issuer, audience and jwks, or issuers')
  if (stream && !issuer) throw new Error("revocations are of Sallyport's auth service; set issuer, audience and jwks")
  if (stream) address(stream.url)

  const revocations = openRevocations(
    { secret: undefined, failClosed: false, maxAge: 30, url: undefined, ...stream },
    report('the revocation stream is lost, and what ends meanwhile is not known'),
  )
  const read = createTokenReader((name) => issuers.get(name), isSigned)
  const known = new Map<string, VerifiedToken>()

  async function find(token: string): Promise<VerifiedToken> {
    const found = known.get(token)
    // It asks for the keys again once they are old, so that a token ends with the key that signed it.
    if (found) await found.issuer.keySet.find(found.keyId)
    if (found && isStillValid(found)) return found
    known.delete(token)
    const verified = await read(token)
    if (known.size === mostKept) known.clear()
    known.set(token, verified)
    return verified
  }

  async function verify(token: string, audience?: string): Promise<Identity> {
    const verified = forAudience(await find(token), audience)
    revocations.check(verified)
    return verified.identity
  }

  return {
    verify,
    async authenticate(authorization, audience) {
      if (authorization === null || authorization === undefined)
        throw new Problem(401, 'TOKEN_MISSING', 'Sign in first')
      // Headers that came twice are joined, by Node with `joinDuplicateHeaders`: which of the two counts is ambiguous.
      if (authorization.includes(',')) throw refused('More than one access token')
      return verify(readBearer(authorization), audience)
    },
    ready: async () => {
      await Promise.all([...issuers.values()].map(({ keySet }) => keySet.ready()))
    },
    close() {
      revocations.close()
      for (const { keySet } of issuers.values()) keySet.close()
    },
  }
}

function warn({ message }: Error): void {
  // biome-ignore lint/suspicious/noConsole: there is no log of ours in somebody else's service, and silence would hide it
  console.warn(`@sallyport/verify: ${message}`)
}

const keysOf = ({ issuer, jwks, discovery = discoveryOf(issuer) }: OtherIssuer): KeySource =>
  jwks === undefined ? { discovery: address(discovery), issuer } : { jwks: address(jwks) }

function address(url: string): string {
  if (!isWebAddress(url))
    throw new Error(`"${withoutUser(String(url))}" is no address like https://login.example.com/keys`)
  return url
}
