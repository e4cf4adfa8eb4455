import type { Config } from '@sallyport/auth/config'
import type { createPool } from '@sallyport/database'
import type { Io } from '../io.ts'

/** `unknown` is what could not be looked at; `advice` is what to do about the rest. */
export interface Finding {
  state: 'ok' | 'warning' | 'failure' | 'unknown'
  finding: string
  advice?: string
}

/** What checks look at. */
export interface Patient {
  env: Io['env']
  /** The settings of auth; undefined if they are wrong. */
  config: Config | undefined
}

export interface Database {
  url: string
  pool: ReturnType<typeof createPool>
}

export type Check = (patient: Patient) => Finding[] | Promise<Finding[]>
/** Of a database that answers. */
export type DatabaseCheck = (database: Database, patient: Patient) => Promise<Finding[]>

export const ok = (finding: string): Finding => ({ state: 'ok', finding })
export const unknown = (finding: string): Finding => ({ state: 'unknown', finding })
export const warning = (finding: string, advice: string): Finding => ({ state: 'warning', finding, advice })
export const failure = (finding: string, advice: string): Finding => ({ state: 'failure', finding, advice })

/** What is wrong; or that it is as it has to be. */
export const orOk = (found: (Finding | false | undefined)[], finding: string): Finding[] => {
  const wrong = found.filter((one): one is Finding => typeof one === 'object')
  return wrong.length > 0 ? wrong : [ok(finding)]
}
