import { createWriteStream, openSync, readFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { finished } from 'node:stream/promises'
import { type Rules, requireRole } from '@sallyport/auth/accounts/import/account'
import { readFirebaseParameters } from '@sallyport/auth/accounts/import/firebase-parameters'
import { importPeople, type Line, type Totals } from '@sallyport/auth/accounts/import/import-people'
import { fieldsOf } from '@sallyport/auth/accounts/import/person'
import { readEntries } from '@sallyport/auth/accounts/import/read'
import { readerOf, type Source, sources } from '@sallyport/auth/accounts/import/sources'
import { createFactorKey } from '@sallyport/auth/factors/factor-key'
import { readSettings, secrets } from '@sallyport/chassis'
import { Option } from 'commander'
import { withDatabase } from './database.ts'
import type { AddCommands, Io } from './io.ts'

interface Options {
  from: Source
  roleMap: string[]
  roles?: string
  defaultRole?: string
  includeUnverified: boolean
  hashConfig?: string
  dryRun: boolean
  report?: string
  ids?: string
  json: boolean
}

const collect = (value: string, all: string[]) => [...all, value]

/** People of another system, with their hashes, roles and authenticator apps. */
export const addImport: AddCommands = (program, io) => {
  program
    .command('import')
    .description('make accounts of the users of another system: docs/moving-in.md')
    .argument('<file>', 'its export, or - for standard input')
    .addOption(new Option('--from <system>', 'which system').choices(sources).makeOptionMandatory())
    .option('--role-map <there=here>', 'a role there, and the one here; as often as there are roles', collect, [])
    .option('--roles <file>', 'the same as JSON: {"there": "here"}')
    .option('--default-role <role>', 'of whoever would have none')
    .option('--include-unverified', 'also those whose address was never verified', false)
    .option('--hash-config <file>', "how a Firebase project hashes, copied from Firebase's console")
    .option('--dry-run', 'say what would be done, and do nothing', false)
    .option('--report <file>', 'write what is left out there, as NDJSON')
    .option('--ids <file>', 'write there who has another id now, as NDJSON')
    .option('--json', 'say it in JSON', false)
    .action((file: string, options: Options) => run(file, options, io))
}

async function run(file: string, options: Options, io: Io): Promise<void> {
  const { from: source, dryRun, json } = options
  const rules: Rules = {
    source,
    roles: readRoles(options),
    defaultRole: options.defaultRole === undefined ? undefined : requireRole(options.defaultRole),
    includeUnverified: options.includeUnverified,
  }
  const { FACTOR_KEY: factorKeys } = readSettings(io.env, {
    FACTOR_KEY: secrets(io.env)({ default: undefined, desc: 'as the auth service has it' }),
  })
  const factorKey = factorKeys && createFactorKey({ current: { factorKeys } })
  const parameters = options.hashConfig && readFirebaseParameters(readFileSync(options.hashConfig, 'utf8'))
  if (source === 'firebase' && !parameters)
    throw new Error("Firebase's hashes need --hash-config, a file with what its console shows of them")
  const read = readerOf(source, parameters || undefined)

  const [report, ids] = [openLines(options.report), openLines(options.ids)]
  const say = (line: Line) => {
    if (report) report.write(line)
    else io.say(json ? JSON.stringify(line) : textOf(line))
  }
  const from = file === '-' ? (io.stdin as AsyncIterable<Buffer>) : (await open(file)).createReadStream()
  const totals = await withDatabase(io, (database) =>
    importPeople(readEntries(from, source), {
      ...{ database, factorKey, rules, read, dryRun, report: say },
      renamed: (before, now) => ids?.write({ before, now }),
    }),
  ).finally(() => Promise.all([report?.close(), ids?.close()]))
  if (json) io.say(JSON.stringify({ totals }))
  else for (const line of linesOf(totals, dryRun)) io.say(line)
}

function readRoles({ roleMap, roles: file }: Options): Map<string, string> {
  const given = file === undefined ? [] : Object.entries(fieldsOf(readFileSync(file, 'utf8')))
  if (file !== undefined && given.length === 0) throw new Error(`${file} holds no roles, as {"there": "here"}`)
  const typed = roleMap.map((pair) => {
    const at = pair.lastIndexOf('=')
    if (at < 1) throw new Error(`--role-map ${pair} is not of the form there=here`)
    return [pair.slice(0, at), pair.slice(at + 1)] as const
  })
  return new Map([...given, ...typed].map(([there, here]) => [there, requireRole(String(here))]))
}

/** A file of lines of JSON, for its owner alone: there are addresses in it. */
function openLines(path: string | undefined) {
  if (path === undefined) return undefined
  // At once, so that nothing begins whose report cannot be written.
  const file = createWriteStream(path, { fd: openSync(path, 'w', 0o600) })
  const done = finished(file)
  done.catch(() => {})
  return {
    write: (value: object) => void file.write(`${JSON.stringify(value)}\n`),
    async close() {
      file.end()
      await done
    },
  }
}

const textOf = ({ entry, id, email, what, why }: Line) =>
  `${entry}: ${email ?? id ?? 'nobody'}: ${what === 'user' ? '' : `without ${what}: `}${why}`

function linesOf({ entries, imported, unchanged, leftOut, partly }: Totals, dryRun: boolean): string[] {
  const counted = (counts: Record<string, number>) => Object.entries(counts).map(([why, count]) => `  ${count} ${why}`)
  const left = Object.values(leftOut).reduce((sum, count) => sum + count, 0)
  const [imports, others] = dryRun ? ['would be imported', 'would be left out'] : ['imported', 'left out']
  return [
    `${entries} users: ${imported} ${imports}, ${unchanged} there already, ${left} ${others}`,
    ...counted(leftOut),
    ...(Object.keys(partly).length > 0 ? ['without something of theirs:', ...counted(partly)] : []),
  ]
}
