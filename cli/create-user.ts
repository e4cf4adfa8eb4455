import '@sallyport/chassis/node-version'
import { text as readAll } from 'node:stream/consumers'
import { createUser } from '@sallyport/auth/accounts/create-user'
import { databaseAddress, duration, readSettings, text } from '@sallyport/chassis'
import { createDatabase, waitForDatabase } from '@sallyport/database'

async function run(): Promise<string> {
  const [email, name, ...roles] = process.argv.slice(2)
  if (!email || !name || roles.length === 0)
    throw new Error('usage: create-user EMAIL NAME ROLE...; it reads the password from standard input')
  const settings = readSettings(process.env, {
    DATABASE_URL: databaseAddress({ desc: 'postgresql://user:password@host:5432/database' }),
    BREACHED_PASSWORDS: text({ default: undefined, desc: 'as the auth service has it' }),
    DATABASE_WAIT: duration({ default: 10, desc: 'how long to wait for the database, such as 10s' }),
  })
  const database = createDatabase(settings.DATABASE_URL, { connections: 1, onError: process.emitWarning })
  try {
    await waitForDatabase(database, settings.DATABASE_WAIT)
    // A line that is typed or piped ends with a line break, which is not of the password.
    const password = (await readAll(process.stdin)).replace(/\r?\n$/, '')
    return await createUser(database, { email, name, roles, password }, settings.BREACHED_PASSWORDS)
  } finally {
    await database.$disconnect()
  }
}

try {
  process.stdout.write(`made user ${await run()}\n`)
} catch (error) {
  process.stderr.write(`sallyport create-user: ${(error as Error).message}\n`)
  process.exitCode = 1
}
