import '@sallyport/chassis/node-version'
import { resetFactorsOf } from '@sallyport/auth/factors/reset'
import { createNotify } from '@sallyport/auth/mail/queue'
import { databaseAddress, duration, readSettings, smtpServer } from '@sallyport/chassis'
import { createDatabase, waitForDatabase } from '@sallyport/database'

async function run(): Promise<string> {
  const [email, ...more] = process.argv.slice(2)
  if (!email || more.length > 0) throw new Error('usage: reset-factors EMAIL')
  const settings = readSettings(process.env, {
    DATABASE_URL: databaseAddress({ desc: 'postgresql://user:password@host:5432/database' }),
    DATABASE_WAIT: duration({ default: 10, desc: 'how long to wait for the database, such as 10s' }),
    SMTP_URL: smtpServer({ default: undefined, desc: 'as the auth service has it, which then sends the mail' }),
  })
  const database = createDatabase(settings.DATABASE_URL, { connections: 1, onError: process.emitWarning })
  try {
    await waitForDatabase(database, settings.DATABASE_WAIT)
    await resetFactorsOf(database, email, createNotify(settings.SMTP_URL))
    return email
  } finally {
    await database.$disconnect()
  }
}

try {
  process.stdout.write(`took the second factors of ${await run()} away, and ended every session\n`)
} catch (error) {
  process.stderr.write(`sallyport reset-factors: ${(error as Error).message}\n`)
  process.exitCode = 1
}
