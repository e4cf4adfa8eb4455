import fc from 'fast-check'
import t from 'tap'
import type { ChainedEvent } from './chain.ts'
import { frame, toSyslog } from './syslog.ts'

const happened: ChainedEvent = {
  ...{ id: '17', at: '2026-11-30T10:00:00.123Z', event: 'login_failed' },
  ...{ user: '0c7f5d1e-8f0b-4a56-9f8e-2f0f6a3c1d11', session: null, ip: '192.0.2.1', reason: 'unknown e-mail' },
  ...{ client: null, act: null, position: 3, hash: 'ab'.repeat(32), commitments: { ip: { salt: 'cd' } } },
}

/** Reads a message by the grammar of RFC 5424 section 6, and nothing that is not in it. */
function parse(message: string) {
  const header =
    /^<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) ([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) /.exec(
      message,
    )
  if (!header) throw new Error(`no header: ${message}`)
  const [start, priority, at, host, app, process, id] = header as unknown as string[]
  let rest = message.slice((start as string).length)
  const element = /^\[([!#-<>-\\^-~]{1,32})/.exec(rest)
  if (!element) throw new Error(`no structured data: ${rest}`)
  rest = rest.slice(element[0].length)
  const parameters: Record<string, string> = {}
  for (let found = true; found; ) {
    const parameter = /^ ([!#-<>-\\^-~]{1,32})="((?:[^"\\\]]|\\["\\\]])*)"/su.exec(rest)
    found = parameter !== null
    if (!parameter) continue
    const [whole, key, value] = parameter as unknown as [string, string, string]
    parameters[key] = value.replace(/\\(["\\\]])/g, '$1')
    rest = rest.slice(whole.length)
  }
  if (!rest.startsWith('] \uFEFF')) throw new Error(`the structured data does not end: ${rest}`)
  return {
    priority: Number(priority),
    at,
    host,
    app,
    process,
    id,
    element: element[1],
    parameters,
    message: rest.slice(3),
  }
}

t.test('a message is as RFC 5424 has it', async (t) => {
  t.equal(
    toSyslog(happened, 'auth-1'),
    `<108>1 2026-11-30T10:00:00.123Z auth-1 sallyport - login_failed [sallyport@32473 position="3" hash="${happened.hash}"` +
      ` user="${happened.user}" ip="192.0.2.1"] \uFEFF${JSON.stringify(happened)}`,
  )
  for (const [event, severity] of [
    ['refresh_reused', 4],
    ['guessing_stopped', 4],
    ['roles_changed', 5],
    ['login_succeeded', 6],
  ] as const)
    t.equal(parse(toSyslog({ ...happened, event })).priority, 13 * 8 + severity, event)
  t.match(parse(toSyslog(happened)).host, /^[!-~]+$/)
})

t.test('a frame counts bytes', async (t) => {
  t.equal(frame('Grüße').toString(), '7 Grüße')
})

t.test('whatever is in an event, its message is one, and says what the event says', async (t) => {
  const hostile = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 60 }),
    fc.string({
      unit: fc.constantFrom('"', '\\', ']', '[', '\n', '\r', '\u0000', '\u0085', '=', ' ', '<', '>', '1', 'é'),
    }),
    fc.constant(`"] x\n<34>1 2026-11-30T10:00:00.123Z evil su - - - forged`),
    fc.constant('x'.repeat(65_536)),
  )
  const nullable = fc.option(hostile)
  const events = fc.record({
    event: hostile,
    user: nullable,
    session: nullable,
    ip: nullable,
    reason: nullable,
    client: nullable,
    act: fc.option(fc.dictionary(hostile, hostile, { maxKeys: 3 })),
  })
  fc.assert(
    fc.property(fc.array(events, { maxLength: 4 }), hostile, (several, host) => {
      const lines = several.map((hostileOne) => ({ ...happened, ...hostileOne }))
      let stream = Buffer.concat(lines.map((line) => frame(toSyslog(line, host))))
      for (const line of lines) {
        const [start = '', length] = /^([1-9]\d*) /.exec(stream.subarray(0, 20).toString('latin1')) ?? []
        const message = stream.subarray(start.length, start.length + Number(length)).toString()
        stream = stream.subarray(start.length + Number(length))
        if (/[\u0000-\u001f]/.test(message)) throw new Error('a control character')
        const parsed = parse(message)
        t.strictSame(JSON.parse(parsed.message), JSON.parse(JSON.stringify(line)))
        t.match(parsed, { app: 'sallyport', process: '-', element: 'sallyport@32473' })
        const { hash, user, session, client, ip } = line
        const shown = Object.entries({ position: '3', hash, user, session, client, ip }).filter(
          ([, value]) => value !== null,
        )
        t.strictSame(
          parsed.parameters,
          Object.fromEntries(shown.map(([key, value]) => [key, (value as string).replace(/\p{Cc}/gu, '?')])),
        )
      }
      return stream.length === 0
    }),
    { numRuns: 200 },
  )
})
