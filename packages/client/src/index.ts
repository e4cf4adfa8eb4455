export { type AccessTokenClaims, type ActorClaim, readAccessToken } from './access-token.ts'
export {
  type Account,
  type AccountDetails,
  accountOf,
  type MailAsked,
  type MailRequest,
  type PasswordReset,
  type TicketCheck,
} from './account.ts'
export { AuthError, type Factor, type Problem, type StepUpNeed } from './auth-error.ts'
export type {
  Credentials,
  PasskeyProof,
  Proof,
  Registration,
  SecondFactor,
  StepUpProof,
} from './auth-service.ts'
export { type AuthClient, type AuthClientOptions, createAuthClient } from './client.ts'
export {
  type Factors,
  type FactorsState,
  factorsOf,
  type NewFactor,
  type Passkey,
  type StepUpOptions,
  type TotpSecret,
} from './factors.ts'
export type { Channel, KeyValueStorage, Locks, Platform } from './platform.ts'
export type { ActingEnd, AuthSnapshot } from './snapshot.ts'
export type { SignOut, Trouble, User } from './store.ts'
