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
  type Passkey,
  Prisma,
  type SecurityEvent,
  type Session,
  type Ticket,
  type User,
} from './generated/client.ts'
export { type Listener, listen } from './listen.ts'
export { migrate } from './migrate.ts'
export type { Role, Roles } from './roles.ts'
export { type DemoUser, demoPassword, demoUsers, seed } from './seed.ts'
