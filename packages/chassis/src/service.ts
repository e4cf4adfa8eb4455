import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import type { ProcessConfig } from './process-config.ts'

export interface Service {
  app: FastifyInstance
  config: ProcessConfig
  logger: Logger
  /** Resolves when requests can be served; throws with the reason when not. */
  ready: () => Promise<void>
  /** What SIGHUP asks for, if it is not to end: to read files again. */
  onHangup?: () => void
  /** Called as soon as the process is draining: from then on responses should end their connections. */
  onClosing?: () => void
}
