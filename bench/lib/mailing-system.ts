import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { seed } from '@sallyport/database'
import { endProcesses, freePort, prepareOwnDatabase, startPostgres, startProcess } from '@sallyport/local'
import pg from 'pg'
import { settingsFor } from './settings.ts'
import { type Smtp, startSmtp } from './smtp.ts'

export interface MailingSystem {
  /** The gateway's address. */
  address: string
  /** The database, as its owner. */
  owner: pg.Client
  /** For another database on the same server. */
  postgresUrl: string
  smtp: Smtp
  stop(): Promise<void>
}

/**
 * Gateway and auth as they are deployed, on a PostgreSQL of their own, with open registration and an SMTP server. They
 * believe `X-Forwarded-For`, so that requests can come from many clients.
 *
 * @param settings beside those of settings.ts
 */
export async function startMailingSystem(settings: Record<string, string> = {}): Promise<MailingSystem> {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-mailing-'))
  const postgres = await startPostgres({ folder, port: await freePort() })
  const databases = await prepareOwnDatabase(postgres.url, seed)
  const smtp = await startSmtp()
  const nowhere = 'http://127.0.0.1:1'
  const environmentWith = (auth: string) => ({
    ...settingsFor(folder, { auth, appointments: nowhere, notifications: nowhere }),
    NODE_ENV: 'production',
    DATABASE_URL: databases.auth,
    AUTH_PORT: '0',
    GATEWAY_PORT: '0',
    TRUSTED_PROXIES: '127.0.0.1',
    SMTP_URL: `smtp://localhost:${smtp.port}`,
    MAIL_FROM: 'Sallyport <no-reply@example.com>',
    APP_ORIGIN: 'https://app.example.com',
    REGISTRATION: 'open',
    REGISTRATION_ROLES: 'patient',
    LOG_LEVEL: 'fatal',
    ...settings,
  })
  const auth = await startProcess('auth', environmentWith(nowhere), () => {})
  const gateway = await startProcess('gateway', environmentWith(`http://127.0.0.1:${auth.port}`), () => {})
  const owner = new pg.Client({ connectionString: postgres.url })
  await owner.connect()
  return {
    address: `http://127.0.0.1:${gateway.port}`,
    owner,
    postgresUrl: postgres.url,
    smtp,
    async stop() {
      await endProcesses([gateway, auth])
      await owner.end()
      await smtp.stop()
      await postgres.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
