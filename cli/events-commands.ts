import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { type ChainedEvent, type Head, readHead, writeHead } from '@sallyport/auth/events/chain'
import { readChain } from '@sallyport/auth/events/read-chain'
import { toSyslog } from '@sallyport/auth/events/syslog'
import type { Fault } from '@sallyport/auth/events/verify'
import { verifyDatabase } from '@sallyport/auth/events/verify-database'
import { verifyFiles } from '@sallyport/auth/events/verify-file'
import { isInstant } from '@sallyport/chassis'
import type { Database } from '@sallyport/database'
import type { Command } from 'commander'
import { withDatabase } from './database.ts'
import type { AddCommands, Io } from './io.ts'

export const addEvents: AddCommands = (program: Command, io: Io) => {
  const events = program.command('events').description('security events: what happened to accounts, in a chain')
  events
    .command('export')
    .description('writes the chain, a line each')
    .option('--from <time>', 'events since then, such as 2026-12-01T00:00:00Z')
    .option('--to <time>', 'events before then')
    .option('--user <id>', 'events of a user')
    .option('--event <name>', 'events of a kind, such as login_failed')
    .option('--after <position>', 'what comes after this position of the chain', '0')
    .option('--format <format>', 'ndjson or syslog (RFC 5424)', 'ndjson')
    .option('--out <file>', 'adds the lines to a file')
    .option('--follow', 'goes on with what happens from now on')
    .action((options: ExportOptions) => withDatabase(io, (database) => exportEvents(database, options, io)))
  events
    .command('verify')
    .description('verifies the chain in the database, or files that it was exported to')
    .option(
      '--file <files...>',
      'files of AUDIT_LOG or of `events export`, the oldest first, in the place of the database',
    )
    .option('--head <heads...>', 'what the chain is known to have been, as POSITION:HASH')
    .option('--json', 'one value of JSON')
    .action(async (options: VerifyOptions) => verifyEvents(options, io))
}

export interface ExportOptions {
  from?: string
  to?: string
  user?: string
  event?: string
  after?: string
  format?: string
  out?: string
  follow?: boolean
}

/** How many entries are read at once. */
const batch = 1_000

/**
 * Writes the entries of the chain that match, in order.
 *
 * @param signal ends what follows
 * @throws Error that says which option is wrong
 */
export async function exportEvents(
  database: Database,
  options: ExportOptions,
  { say }: Pick<Io, 'say'>,
  signal?: AbortSignal,
): Promise<void> {
  const { format = 'ndjson', after = '0', out, follow } = options
  if (format !== 'ndjson' && format !== 'syslog') throw new Error(`--format takes ndjson or syslog, not ${format}`)
  if (!/^\d{1,15}$/.test(after)) throw new Error(`--after takes a position, not ${after}`)
  const matches = filterOf(options)
  const lineOf = (happened: ChainedEvent) => (format === 'syslog' ? toSyslog(happened) : JSON.stringify(happened))
  const file = out === undefined ? undefined : createWriteStream(out, { flags: 'a', mode: 0o640 })
  if (file) await once(file, 'open')
  for (let position = Number(after); !signal?.aborted; ) {
    const entries = await readChain(database, position, batch)
    const lines = entries.filter((entry) => entry.event !== undefined && matches(entry)) as ChainedEvent[]
    for (const line of lines.map(lineOf)) {
      if (!file) say(line)
      else if (!file.write(`${line}\n`)) await once(file, 'drain')
    }
    position = entries.at(-1)?.position ?? position
    if (entries.length === batch) continue
    if (!follow) break
    await sleep(1_000, undefined, { signal }).catch(() => {})
  }
  if (file) await once(file.end(), 'close')
}

function filterOf({ from, to, user, event }: ExportOptions): (happened: ChainedEvent) => boolean {
  for (const [option, time] of Object.entries({ from, to }))
    if (time !== undefined && !isInstant(time))
      throw new Error(`--${option} takes a time such as 2026-12-01T00:00:00Z, not ${time}`)
  const [least, most] = [from, to].map((time) => (time === undefined ? undefined : new Date(time).toISOString()))
  return (happened) =>
    (least === undefined || happened.at >= least) &&
    (most === undefined || happened.at < most) &&
    (user === undefined || happened.user === user.toLowerCase()) &&
    (event === undefined || happened.event === event)
}

export interface VerifyOptions {
  file?: string[]
  head?: string[]
  json?: boolean
}

/** So many faults are listed; the others are counted. */
const listed = 1_000

/** @throws Error if there is a fault, after each was shown, or if an option is wrong */
export async function verifyEvents({ file, head = [], json }: VerifyOptions, io: Io): Promise<void> {
  const heads = head.map(toHead)
  const faults: Fault[] = []
  let count = 0
  const onFault = (fault: Fault) => {
    count += 1
    if (faults.length === listed) return
    faults.push(fault)
    if (!json) io.say(`${fault.position ?? '-'} ${fault.fault}: ${fault.meaning}`)
  }
  const verified = file
    ? { ...(await verifyFiles(file, heads, onFault)), waiting: 0 }
    : await withDatabase(io, (database) => verifyDatabase(database, heads, onFault))
  const { events, first, head: last, repeated, waiting } = verified
  if (json) {
    const ends = { first: first && writeHead(first), head: last && writeHead(last) }
    io.say(JSON.stringify({ ok: count === 0, events, ...ends, repeated, waiting, faultCount: count, faults }))
  } else {
    io.say(`${events} events${first && last ? `, from ${first.position} to ${last.position}` : ''}`)
    if (repeated > 0) io.say(`${repeated} lines are there again, as after a crash`)
    if (waiting > 0) io.say(`${waiting} events are not chained yet`)
    if (last) io.say(`head ${writeHead(last)}`)
  }
  if (count > 0) throw new Error(count === 1 ? '1 fault' : `${count} faults`)
}

function toHead(text: string): Head {
  const head = readHead(text)
  if (!head) throw new Error(`--head takes POSITION:HASH as verify and the log show it, not ${text}`)
  return head
}
