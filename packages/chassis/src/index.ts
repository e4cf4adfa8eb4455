export { Problem, unavailable } from '@sallyport/verify'
export {
  type Application,
  createApplication,
  noteProblem,
  respondWithProblem,
  securityHeaders,
  sendProblem,
} from './application.ts'
export { type EventStream, openEventStream } from './event-stream.ts'
export { escapeHtml } from './html.ts'
export { createLogger, type Logger } from './logging.ts'
export { ownCallers } from './own-callers.ts'
export { runProcess } from './process.ts'
export { type ProcessConfig, processConfig, processSettings } from './process-config.ts'
export { listOrigin, noteRefusedOrigin } from './refused-origins.ts'
export { openReloadable, type Reloadable } from './reloadable.ts'
export { repeat } from './repeat.ts'
export { observeRequest } from './request-durations.ts'
export type { Primary, Service } from './service.ts'
export {
  type AuditSink,
  addresses,
  auditSink,
  ConfigurationError,
  choice,
  databaseAddress,
  databaseSettings,
  domain,
  domains,
  duration,
  durationBetween,
  headerNames,
  type Mailbox,
  mailbox,
  origin,
  origins,
  port,
  positive,
  privateKeys,
  publicKeys,
  readDuration,
  readSettings,
  redisAddress,
  roles,
  type SmtpServer,
  safeOrigin,
  secrets,
  smtpServer,
  text,
  webAddress,
} from './settings.ts'
export { startTrace } from './trace-requests.ts'
export type { Followed } from './tracing.ts'
export { readTrust } from './trust.ts'
export { type Formats, isInstant, storable } from './validation.ts'
export { versionOf } from './version.ts'
export { openWorkers } from './workers.ts'
