export { type Assertions, createAssertions, createAssertionVerifier, type VerifyAssertion } from './assertion.ts'
export { type Guard, requireIdentity, requireRole, type Trust } from './guards.ts'
export {
  carelessly,
  headersOf,
  type Identity,
  identityFrom,
  identityHeaders,
  isIdentityHeader,
  isRole,
} from './headers.ts'
export { type Algorithm, algorithmOf, publicJwk } from './keys.ts'
