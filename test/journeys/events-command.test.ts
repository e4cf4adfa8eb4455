import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { type ChainedEvent, writeHead } from '@sallyport/auth/events/chain'
import { readChain } from '@sallyport/auth/events/read-chain'
import { sealEvents } from '@sallyport/auth/events/seal'
import { addEvents, exportEvents, type VerifyOptions, verifyEvents } from '@sallyport/cli/events-commands'
import t, { type Test } from 'tap'
import { addEvents as add } from '../support/audit.ts'
import { eventually, startDatabase, temporaryFolder } from '../support/system.ts'

/** The one that the command line has. */
const { Command } = createRequire(import.meta.resolve('@sallyport/cli/events-commands'))('commander') as {
  Command: new () => Parameters<typeof addEvents>[0]
}

/** A command's surroundings, and what it said. */
function createIo(env: Record<string, string> = {}) {
  const lines: string[] = []
  return { lines, io: { env, say: (line: string) => lines.push(line), warn: () => {}, stdin: process.stdin } }
}

/** What verifying files says. */
async function verifyFile(files: string[], more: VerifyOptions = {}) {
  const { lines, io } = createIo()
  const failure = await verifyEvents({ file: files, json: true, ...more }, io).then(
    () => undefined,
    (error: Error) => error.message,
  )
  return { failure, ...JSON.parse(lines[0] as string) }
}

async function openExport(t: Test) {
  const system = await startDatabase(t)
  await system.sql(add(30))
  await system.sql(`INSERT INTO auth.security_events (event, user_id, at, reason) VALUES
    ('impersonation_started', gen_random_uuid(), '2020-01-01T00:00:00Z', 'words, by ' || gen_random_uuid()),
    ('user_created', gen_random_uuid(), '2021-01-01T00:00:00Z', NULL)`)
  for (let pass = 0; pass < 3; pass++) await sealEvents(system.database)
  const path = join(temporaryFolder(t), 'audit.ndjson')
  return { ...system, path }
}

t.test('the chain is exported as a whole or in part', async (t) => {
  const { database, sql, path } = await openExport(t)
  const all = (await readChain(database, 0, 100)) as ChainedEvent[]
  const exported = async (options: Parameters<typeof exportEvents>[1]) => {
    const { lines, io } = createIo()
    await exportEvents(database, options, io)
    return lines
  }
  const positions = async (options: Parameters<typeof exportEvents>[1]) =>
    (await exported(options)).map((line) => JSON.parse(line).position)
  t.strictSame(
    (await exported({})).map((line) => JSON.parse(line)),
    JSON.parse(JSON.stringify(all)),
  )
  t.strictSame(await positions({ after: '30' }), [31, 32])
  t.strictSame(await positions({ after: '32' }), [])
  t.strictSame(await positions({ event: 'user_created' }), [32])
  t.strictSame(await positions({ user: all[30]?.user?.toUpperCase() as string }), [31])
  t.strictSame(await positions({ to: '2021-01-01T01:00:00+01:00' }), [31])
  t.strictSame(await positions({ from: '2021-01-01T00:00:00Z', to: '2022-01-01T00:00:00Z' }), [32])
  t.match(await exported({ event: 'user_created', format: 'syslog' }), [
    /^<109>1 2021.* user_created \[sallyport@32473 /,
  ])
  t.strictSame(await exported({ out: path }), [])
  t.match(await verifyFile([path]), { failure: undefined, ok: true, events: 32, waiting: 0 })

  for (const [option, value, message] of [
    ['format', 'xml', /--format takes ndjson or syslog, not xml/],
    ['after', '-1', /--after takes a position/],
    ['from', 'yesterday', /--from takes a time/],
    ['to', '2026-02-30T00:00:00Z', /--to takes a time/],
  ] as const)
    await t.rejects(exported({ [option]: value }), { message })
  await t.rejects(exported({ out: join(path, 'no', 'folder') }), { code: 'ENOTDIR' })

  await sql('ALTER TABLE auth.security_events DISABLE TRIGGER ALL; DELETE FROM auth.security_events WHERE ip IS NULL')
  t.equal((await exported({ after: '29' })).length, 1, 'of what was removed there is nothing to export')

  await t.test('and goes on with what happens', async (t) => {
    const { lines, io } = createIo()
    const stopping = new AbortController()
    const following = exportEvents(database, { after: '32', follow: true }, io, stopping.signal)
    await sql(add(2))
    await sealEvents(database)
    await eventually('they come', () => lines.length === 2)
    stopping.abort()
    await following
    t.strictSame(
      lines.map((line) => JSON.parse(line).position),
      [33, 34],
    )
  })

  await t.test('a file that is slower than the database has all of it', async (t) => {
    await sql(add(400, 'x'.repeat(2_000)))
    await sealEvents(database)
    const slow = `${path}.slow`
    await exported({ after: '34', out: slow })
    t.match(await verifyFile([slow]), { ok: true, events: 400 })
  })

  await t.test('more than is read at once comes as a whole', async (t) => {
    await sql(add(1_001))
    await sealEvents(database)
    t.strictSame(
      await positions({ after: '434' }),
      Array.from({ length: 1_001 }, (_, index) => 435 + index),
    )
  })
})

t.test('files are verified by themselves', async (t) => {
  const { database, path } = await openExport(t)
  await exportEvents(database, { out: path }, createIo().io)
  const lines = readFileSync(path, 'utf8').trimEnd().split('\n')
  const change = (index: number, more: object) => {
    const changed = [...lines]
    changed[index] = JSON.stringify({ ...JSON.parse(lines[index] as string), ...more })
    return changed
  }
  const entry = JSON.parse(lines[30] as string)
  const isBent = (bent: object): [string, string[], object[]] => [
    `is bent: ${JSON.stringify(bent).slice(0, 40)}`,
    change(31, bent),
    [{ position: 31, fault: 'unreadable' }],
  ]
  const cases: [what: string, lines: string[], faults: object[]][] = [
    ['is whole', lines, []],
    ['begins later', lines.slice(10), []],
    ['is empty', [], []],
    ['has lines again', [...lines.slice(0, 20), ...lines.slice(15)], []],
    [
      'has a line again that was cut off',
      [...lines.slice(0, 20), (lines[20] as string).slice(0, 50), ...lines.slice(18)],
      [],
    ],
    ['lacks a line', lines.toSpliced(5, 1), [{ position: 6, fault: 'missing' }]],
    ['lacks lines', lines.toSpliced(5, 3), [{ position: 6, fault: 'missing', meaning: /up to 8/ }]],
    ['has a line changed', change(7, { reason: 'other' }), [{ position: 8, fault: 'changed' }]],
    ['has an IP address changed', change(7, { ip: '::1' }), [{ position: 8, fault: 'changed' }]],
    ['has an IP address taken out', change(7, { ip: null }), [{ position: 8, fault: 'changed' }]],
    ['has a commitment taken out', change(7, { commitments: {} }), [{ position: 8, fault: 'changed' }]],
    [
      'has an event without a user said to be erased',
      change(7, { ip: null, commitments: { ip: { digest: 'ab' } } }),
      [
        { position: 8, fault: 'changed' },
        { position: 8, fault: 'erased_unlawfully', meaning: /nobody/ },
      ],
    ],
    [
      'has words without a user said to be erased',
      change(30, { user: null, commitments: { words: { digest: 'ab' } } }),
      [
        { position: 31, fault: 'changed' },
        { position: 31, fault: 'erased_unlawfully' },
      ],
    ],
    [
      'has a line again, changed',
      [...lines, ...change(31, { hash: 'ab'.repeat(32) }).slice(31)],
      [{ position: 32, fault: 'changed' }],
    ],
    [
      'has a line again, with another content',
      [...lines, ...change(31, { event: 'x' }).slice(31)],
      [{ position: 32, fault: 'changed' }],
    ],
    [
      'has what is no line',
      ['{}', ...lines.slice(0, 5), 'null', ...lines.slice(5)],
      [
        { position: 5, fault: 'unreadable', meaning: /^line 1 of/ },
        { position: 32, fault: 'unreadable', meaning: /^line 7 of/ },
      ],
    ],
    [
      'ends within a line',
      [...lines.slice(0, 31), (lines[31] as string).slice(0, 99)],
      [{ position: 31, fault: 'unreadable' }],
    ],
    ...[
      { position: '32' },
      { position: 1.5 },
      { hash: 1 },
      { id: 'x' },
      { event: null },
      { reason: 1 },
      { ip: {} },
      { user: 1 },
      { commitments: null, ip: 1 },
      { commitments: { ip: 'x' } },
      { commitments: { ip: null } },
      { commitments: { words: { salt: 'ab', digest: 'cd' } } },
      { commitments: { words: { other: 'ab' } } },
      { commitments: { words: { salt: 'no hex' } } },
    ].map(isBent),
  ]
  t.ok(entry.commitments.words)
  for (const [what, content, faults] of cases)
    await t.test(what, async (t) => {
      writeFileSync(path, content.map((line) => `${line}\n`).join(''))
      const verified = await verifyFile([path])
      t.equal(
        verified.failure,
        faults.length === 0 ? undefined : faults.length === 1 ? '1 fault' : `${faults.length} faults`,
      )
      t.match(verified, { ok: faults.length === 0, faultCount: faults.length, faults })
    })

  await t.test('what was cut off long ago is no line', async (t) => {
    const again = Array.from({ length: 10_001 }, () => lines[2] as string)
    writeFileSync(path, `${[...lines.slice(0, 3), '{"ix"', ...again].join('\n')}\n`)
    const verified = await verifyFile([path])
    t.match(verified, { faultCount: 1, repeated: 10_001, faults: [{ fault: 'unreadable', meaning: /^line 4 / }] })
  })

  await t.test('heads are looked for', async (t) => {
    writeFileSync(path, `${lines.slice(0, 31).join('\n')}\n`)
    const head = (index: number) => writeHead(JSON.parse(lines[index] as string))
    t.match(await verifyFile([path], { head: [head(3), head(30)] }), { ok: true, first: head(0), head: head(30) })
    t.match(await verifyFile([path], { head: [head(31)] }), { faults: [{ position: 32, fault: 'head_missing' }] })
    t.match(await verifyFile([path], { head: [head(3).replace('4:', '5:')] }), {
      faults: [{ position: 5, fault: 'head_differs' }],
    })
    await t.rejects(verifyEvents({ file: [path], head: ['1:x'] }, createIo().io), {
      message: /--head takes POSITION:HASH/,
    })
    await t.rejects(verifyEvents({ file: [`${path}.none`] }, createIo().io), { code: 'ENOENT' })
  })
})

t.test('as commands, in words', async (t) => {
  const { urls, sql, path } = await openExport(t)
  const run = async (...words: string[]) => {
    const { lines, io } = createIo({ DATABASE_URL: urls.auth })
    const program = new Command().exitOverride()
    addEvents(program, io)
    const failure = await program.parseAsync(['events', ...words], { from: 'user' }).then(
      () => undefined,
      (error: Error) => error.message,
    )
    return { lines, failure }
  }
  t.equal((await run('export', '--after', '30')).lines.length, 2)
  await run('export', '--out', path)
  await sql(add(3))
  const { lines, failure } = await run('verify')
  t.match(lines, ['32 events, from 1 to 32', '3 events are not chained yet', /^head 32:[0-9a-f]{64}$/])
  t.equal(failure, undefined)
  t.match(JSON.parse((await run('verify', '--json')).lines[0] as string), { ok: true, events: 32, waiting: 3 })
  writeFileSync(path, readFileSync(path, 'utf8').split('\n')[31] as string, { flag: 'a' })
  t.match((await run('verify', '--file', path)).lines[1], /^1 lines are there again/)
  const known = (lines[2] as string).slice(5)
  t.equal((await run('verify', '--head', known)).failure, undefined)

  await sql(`ALTER TABLE auth.security_events DISABLE TRIGGER ALL;
    UPDATE auth.security_events SET event = 'other' WHERE id IN (SELECT event_id FROM auth.event_chain WHERE position < 3);
    INSERT INTO auth.security_events (id, event) OVERRIDING SYSTEM VALUE VALUES (-7, 'added')`)
  const found = await run('verify')
  t.match(found.lines, [/^1 changed: the event \d+, or its place,/, /^2 changed/, /^- not_chained: the event -7 /])
  t.equal(found.failure, '3 faults')

  await sql(`UPDATE auth.security_events SET event = 'other'; TRUNCATE auth.event_chain_state;
    INSERT INTO auth.event_chain_state (start_hash, hash) VALUES (decode(repeat('00', 32), 'hex'), decode(repeat('00', 32), 'hex'))`)
  t.equal(JSON.parse((await run('verify', '--json')).lines[0] as string).faultCount, 33)
  await sql('ALTER TABLE auth.event_chain DISABLE TRIGGER ALL; TRUNCATE auth.event_chain')
  t.match((await run('verify')).lines, [/-7/, '0 events', '35 events are not chained yet', /^head 0:0{64}$/])
})

t.test('of very many faults the first are listed, and all are counted', async (t) => {
  const path = join(temporaryFolder(t), 'audit.ndjson')
  const nothing = Array.from({ length: 1_500 }, (_, number) => `nothing ${number}`)
  writeFileSync(path, `${nothing.join('\n')}\n`)
  const { faults, faultCount } = await verifyFile([path])
  t.equal(faultCount, 1_500)
  t.equal(faults.length, 1_000)
})
