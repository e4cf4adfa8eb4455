export { type AccessTokenClaims, readAccessToken } from './access-token.ts'
export {
  type Account,
  type AccountDetails,
  accountOf,
  type MailAsked,
  type MailRequest,
  type TicketCheck,
} from './account.ts'
export { AuthError } from './auth-error.ts'
export type { Credentials, Proof, Registration } from './auth-service.ts'
export { type AuthClient, type AuthClientOptions, createAuthClient } from './client.ts'
export type { Channel, KeyValueStorage, Locks, Platform } from './platform.ts'
export type { AuthSnapshot } from './snapshot.ts'
export type { SignOut, Trouble, User } from './store.ts'
