import type { Logger } from '@sallyport/chassis'
import type { Database } from '@sallyport/database'
import { emailChangeTask, startEmailChange } from './accounts/change-email.ts'
import { registrationTask, startRegistration } from './accounts/register.ts'
import type { Config, MailConfig } from './config.ts'
import { startExport } from './events/export.ts'
import { startSealing } from './events/seal.ts'
import type { FactorKey } from './factors/factor-key.ts'
import type { Tasks } from './mail/worker.ts'
import { manyFailuresTask, tellOfFailures } from './passwords/many-failures.ts'
import { followMix } from './passwords/mix.ts'
import type { Passwords } from './passwords/passwords.ts'
import { passwordResetTask, startPasswordReset } from './passwords/reset.ts'
import { startReporting } from './replicas/replicas.ts'
import { startHousekeeping } from './sessions/housekeeping.ts'
import type { DerivedKeys } from './tokens/derived-keys.ts'
import type { KeySet } from './tokens/key-set.ts'
import type { Sender } from './webhooks/send.ts'
import { startWebhooks } from './webhooks/worker.ts'

interface Dependencies {
  config: Config
  database: Database
  logger: Logger
  passwords: Passwords
  keys: { readonly current: KeySet }
  derivedKeys: DerivedKeys
  factorKey: FactorKey
  revocations: { readonly isListening: boolean }
  sender: Sender
}

/**
 * What a process does beside requests. Every process does all of it; each piece of work is done by one of them.
 *
 * @returns how to stop
 */
export async function startBackground(dependencies: Dependencies): Promise<() => Promise<void>> {
  const { config, database, logger, passwords, keys, derivedKeys, factorKey, revocations, sender } = dependencies
  const mailWorker = config.mail && (await startMail(config.mail))
  const stops = [
    startHousekeeping(database, logger, factorKey, config),
    await followMix(database, passwords, logger),
    startSealing(database, logger),
    config.auditSink && startExport(database, logger, { sink: config.auditSink }),
    startWebhooks({ database, factorKey, sender, logger }),
    mailWorker?.stop,
    startReporting(database, logger, { version: config.version, state: describe }),
  ]
  return async () => {
    await Promise.all(stops.map((stop) => stop?.()))
  }

  /** What other processes are to know of this one. */
  function describe() {
    const signingKeys = keys.current.jwks.keys.map(({ kid }) => kid)
    const { isListening: listening } = revocations
    const mail = config.mail !== undefined
    return { signingKeys, activeKey: signingKeys[0], listening, mail, ...mailWorker?.log }
  }

  /** Imported when there is mail to send: it takes a start as long as Fastify does. */
  async function startMail(mail: MailConfig) {
    const { startMailWorker } = await import('./mail/worker.ts')
    const used = { config, database, keys: derivedKeys }
    const tasks = {
      [registrationTask]: (payload) => startRegistration(payload, used),
      [passwordResetTask]: (payload) => startPasswordReset(payload, used),
      [emailChangeTask]: (payload) => startEmailChange(payload, used),
      [manyFailuresTask]: (payload) => tellOfFailures(payload, used),
    } satisfies Tasks
    return startMailWorker({ databaseUrl: config.databaseDirectUrl, mail, keys: derivedKeys, logger, tasks })
  }
}
