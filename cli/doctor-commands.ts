import { type Answer, answering } from './answer.ts'
import { type Check, type DatabaseCheck, type Finding, failure, type Patient } from './doctor/check.ts'
import { clock, connections, listening, migrations, openDatabase, rights, server } from './doctor/database.ts'
import { mail, queue } from './doctor/mail.ts'
import { keys, processes, replicaClocks, streams } from './doctor/replicas.ts'
import { gatewaySettings, readAuthConfig, secretFiles, settings } from './doctor/settings.ts'
import type { AddCommands, Io } from './io.ts'

/** Looks at a whole system with the settings of auth, and changes nothing. */
export const addDoctor: AddCommands = (program, io) => {
  program
    .command('doctor')
    .description('check settings, database, mail and processes, and say what to do: docs/command-line.md')
    .option('--send-mail <address>', 'send a mail too, and do not only sign in to the mail server')
    .action(answering(io, ({ sendMail }: { sendMail?: string }) => examine(io, sendMail)))
}

const databaseChecks: Record<string, DatabaseCheck> = {
  database: server,
  migrations,
  rights,
  clock,
  notifications: listening,
  connections,
  queue,
  processes,
  clocks: replicaClocks,
  keys,
  streams,
}

async function examine({ env }: Io, sendTo: string | undefined): Promise<Answer> {
  const patient: Patient = { env, config: readAuthConfig(env) }
  const checks: Record<string, Check> = {
    settings,
    'gateway settings': gatewaySettings,
    'secret files': secretFiles,
    mail: mail(sendTo),
  }
  const found: ({ check: string } & Finding)[] = []
  // One after the other: none is to be in the way of another, or of the system.
  const look = async (check: string, work: () => Finding[] | Promise<Finding[]>) => {
    for (const finding of await findingsOf(work)) found.push({ check, ...finding })
  }
  for (const [name, check] of Object.entries(checks)) await look(name, () => check(patient))
  await look('database', async () => {
    const database = await openDatabase(env)
    if (typeof database === 'string')
      return [
        failure(
          `it cannot be used (${database})`,
          'start it, or correct DATABASE_URL, which has to lead to the primary where there are standbys',
        ),
      ]
    for (const [name, check] of Object.entries(databaseChecks)) await look(name, () => check(database, patient))
    await database.pool.end()
    return []
  })
  const lines = found.flatMap(({ check, state, finding, advice }) => [
    `${state.padEnd(7)}  ${check}: ${finding}`,
    ...(advice === undefined ? [] : [`${' '.repeat(9)}${advice}`]),
  ])
  return { value: { checks: found }, lines, failed: found.some(({ state }) => state === 'failure') }
}

/** What cannot be looked at is a finding too, such as a table that the role may not read. */
async function findingsOf(work: () => Finding[] | Promise<Finding[]>): Promise<Finding[]> {
  try {
    return await work()
  } catch (error) {
    return [failure((error as Error).message, 'correct what else is found, and look again')]
  }
}
