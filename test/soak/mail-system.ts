import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { addMail } from '@sallyport/auth/mail/queue'
import { settingsFor } from '@sallyport/bench/settings'
import { createDatabase, seed } from '@sallyport/database'
import { endProcesses, freePort, prepareOwnDatabase, startPostgres, startProcess } from '@sallyport/local'
import { SMTPServer } from 'smtp-server'

/** One message as the server got it, complete. */
export interface Received {
  to: string
  messageId: string
  /** Milliseconds, as performance.now() has them. */
  at: number
}

/** An SMTP server that keeps addresses and ids. @param hold is waited for before a message is confirmed */
export async function startServer(port: number, hold: (received: Received) => Promise<void>, received: Received[]) {
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS'],
    disableReverseLookup: true,
    logger: false,
    closeTimeout: 100,
    onData(stream, { envelope }, done) {
      const take = async () => {
        const messageId = /^Message-ID: (.*?)\r?$/im.exec(await text(stream))?.[1] ?? ''
        const message = { to: envelope.rcptTo[0]?.address ?? '', messageId, at: performance.now() }
        await hold(message)
        received.push({ ...message, at: performance.now() })
      }
      // A client that is killed ends in the middle.
      take().then(() => done(), done)
    },
  })
  server.on('error', () => {})
  server.listen(port, '127.0.0.1')
  await once(server.server, 'listening')
  return {
    port: (server.server.address() as AddressInfo).port,
    close: () => new Promise<void>((resolve) => server.close(resolve)),
  }
}

/** An auth process on a Postgres of its own, and what queues mails as it does. */
export async function startMailSystem(smtpPort: number) {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-mail-'))
  const postgres = await startPostgres({ folder, port: await freePort() })
  const { auth: url } = await prepareOwnDatabase(postgres.url, seed)
  const database = createDatabase(url, { connections: 2, onError: () => {} })
  const authPort = await freePort()
  const nowhere = 'http://127.0.0.1:1'
  const environment = {
    ...settingsFor(folder, { auth: `http://127.0.0.1:${authPort}`, appointments: nowhere, notifications: nowhere }),
    DATABASE_URL: url,
    AUTH_PORT: String(authPort),
    SMTP_URL: `smtp://127.0.0.1:${smtpPort}`,
    MAIL_FROM: 'no-reply@example.com',
    APP_ORIGIN: 'https://app.example.com',
  }
  const start = () => startProcess('auth', environment, () => {})
  let auth = await start()
  return {
    url: `http://127.0.0.1:${authPort}`,
    database,
    /** Resolves once it is committed. */
    queueMail: (to: string) =>
      addMail(database, {
        template: 'password_changed',
        to,
        locale: null,
        name: 'Dora',
        at: new Date().toISOString(),
        ip: '203.0.113.7',
        device: 'Firefox on Linux',
      }),
    async kill() {
      auth.child.kill('SIGKILL')
      await auth.ended
    },
    async restart() {
      auth = await start()
    },
    async stop() {
      await endProcesses([auth])
      await database.$disconnect()
      await postgres.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

export function report(rows: [string, number | string][]): void {
  process.stdout.write(
    `| what | figure |\n| --- | ---: |\n${rows.map(([what, figure]) => `| ${what} | ${figure} |\n`).join('')}`,
  )
}
