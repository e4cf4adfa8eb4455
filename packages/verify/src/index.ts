export {
  createTokenReader,
  expired,
  forAudience,
  type IsSigned,
  isStillValid,
  type ReadToken,
  readBearer,
  refused,
  type VerifiedToken,
} from './access-token.ts'
export { type Algorithm, algorithmOfKey, algorithms, publicPart, type SetKey, usualAlgorithms } from './algorithm.ts'
export { createAssertionVerifier, type VerifyAssertion } from './assertion.ts'
export { claimsOf, identityFromClaims, scopesFrom } from './claims.ts'
export {
  canonicalName,
  decodeEmail,
  headersOf,
  identityFromHeaders,
  identityHeaders,
  isIdentityHeader,
} from './headers.ts'
export {
  type Actor,
  actorsOf,
  areRoles,
  areScopes,
  type CallerKind,
  callerKinds,
  clientIdOf,
  clientSubject,
  type Identity,
  identityFrom,
  isActor,
  isEmail,
  isNumericDate,
  isRole,
  isScope,
  isUuid,
  longestScopes,
  mostActors,
  mostRoles,
  mostScopes,
  rolePattern,
  scopePattern,
  uuidPattern,
} from './identity.ts'
export {
  algorithmsOf,
  type ClaimPath,
  type ForeignIssuer,
  faultOfRoleMap,
  foreignIssuer,
  type Issuer,
  ownIssuer,
} from './issuer.ts'
export { readJws, readObject, type SignedMessage } from './jws.ts'
export { discoveryOf, type KeySet, type KeySource, openKeySet, type VerifyingKey } from './key-set.ts'
export type { OtherIssuer, VerifierOptions } from './options.ts'
export { badToken, invalid, Problem, unavailable } from './problem.ts'
export {
  assertionIssuer,
  assertionLifetime,
  assertionType,
  KeptAssertions,
  type ReadAssertion,
  readAssertion,
} from './read-assertion.ts'
export type { Revocation, RevocationEvents } from './revocation-events.ts'
export { openRevocations, type RevocationSettings, type Revocations } from './revocations.ts'
export { createVerifier, type Verifier } from './verifier.ts'
export { isWebAddress, withoutUser } from './web-address.ts'
