import t from 'tap'
import type { Database, Patient } from './check.ts'
import { server } from './database.ts'

/** What is found of a server that says this of itself; test/journeys/doctor.test.ts asks a real one. */
const findings = (said: object) =>
  server(
    {
      url: 'postgresql://localhost/sallyport',
      pool: {
        query: async () => ({ rows: [{ version: '17.2', major: 17, encoding: 'UTF8', role: 'auth', ...said }] }),
      },
    } as unknown as Database,
    {} as Patient,
  )

t.test('a server that is too old, or has another encoding, is said to be', async (t) => {
  t.strictSame(await findings({}), [{ state: 'ok', finding: 'PostgreSQL 17.2, as auth' }])
  t.match(await findings({ version: '13.9', major: 13 }), [
    { state: 'failure', finding: 'it is PostgreSQL 13.9', advice: 'have 14 or later' },
  ])
  t.match(await findings({ encoding: 'LATIN1' }), [{ state: 'failure', finding: 'its encoding is LATIN1' }])
})
