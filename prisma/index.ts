export {
  createDatabase,
  createPool,
  type Database,
  isOutage,
  isUniqueViolation,
  type Statement,
  waitForDatabase,
} from './database.ts'
export {
  type Appointment,
  type Client,
  type ClientCredential,
  type ClientExchange,
  type EventChainEntry,
  type Passkey,
  Prisma,
  type SecurityEvent,
  type Session,
  type Ticket,
  type User,
  type Webhook,
  type WebhookDelivery,
  type WebhookSecret,
} from './generated/client.ts'
export { type Listener, listen, waitForSessions } from './listen.ts'
export { migrate } from './migrate.ts'
export { migrationNames } from './migration-files.ts'
export type { Role, Roles } from './roles.ts'
export { type DemoUser, demoPassword, demoUsers, seed } from './seed.ts'
