export { type Assertions, createAssertions, createAssertionVerifier, type VerifyAssertion } from './assertion.ts'
export { type Guard, requireIdentity, requireRole, requireUuids, type Trust } from './guards.ts'
export {
  carelessly,
  decodeEmail,
  headersOf,
  identityFromHeaders,
  identityHeaders,
  isIdentityHeader,
} from './headers.ts'
export {
  areRoles,
  type Identity,
  identityFrom,
  isEmail,
  isRole,
  isUuid,
  mostRoles,
  rolePattern,
  uuidPattern,
} from './identity.ts'
export { type Algorithm, algorithmOf, publicJwk } from './keys.ts'
export { partsOf, spellingsOf, toMailbox } from './mailbox.ts'
export type { Revocation, RevocationEvents } from './revocations.ts'
export { createSigner } from './sign.ts'
