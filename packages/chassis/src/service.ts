import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import type { ProcessConfig } from './process-config.ts'

/** What takes requests. */
export interface Serving {
  /** @returns the port */
  listen(): Promise<number>
  /** Completes what was begun, after so many milliseconds in which it serves on. */
  close(wait: number): Promise<void>
}

interface Process {
  config: ProcessConfig
  logger: Logger
  /** Resolves when requests can be served; throws with the reason when not. */
  ready: () => Promise<void>
  /** What SIGHUP asks for, if it is not to end: to read files again. */
  onHangup?: () => void
}

/** A service that serves in its own process. */
export interface Service extends Process {
  app: FastifyInstance
  /** Called as soon as the process is draining: from then on responses should end their connections. */
  onClosing?: () => void
}

/** A service whose requests other processes serve, which this one started. */
export interface Primary extends Process {
  workers: Serving & { metrics(): Promise<string> }
}
