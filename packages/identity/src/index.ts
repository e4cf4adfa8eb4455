// What an identity is, and how headers and claims say it, is the same where no gateway is in front.
export * from '@sallyport/verify'
export { apiKeyId, apiKeyPattern, isApiKeyLike, makeApiKey } from './api-key.ts'
export { type Assertions, createAssertions, createAssertionVerifier, type VerifyAssertion } from './assertion.ts'
export { holdsScopes, kindNames, scopeChallenge } from './decisions.ts'
export type { Guards } from './guards.ts'
export { importKey, isSigned, isSignedBy, type PublicKey, toPublicKey } from './jws.ts'
export { algorithmOf, publicJwk } from './keys.ts'
export { partsOf, spellingsOf, toMailbox } from './mailbox.ts'
export { Refusal } from './refusal.ts'
export {
  type AuthorizedCalls,
  createServiceClient,
  type ServiceClient,
  type ServiceClientOptions,
  type ServiceRequest,
} from './service-client.ts'
export { ServiceClientError } from './service-client-error.ts'
export { createSigner } from './sign.ts'
export type { Trust } from './trust.ts'
