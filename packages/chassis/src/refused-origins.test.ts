import t from 'tap'
import { listOrigin, noteRefusedOrigin } from './refused-origins.ts'

t.test('an origin that is refused is named once a minute, and not more than a hundred of them', async (t) => {
  let now = 0
  const lines: { origin: string; message: string }[] = []
  const warn = (fields: object, message: string) => lines.push({ ...(fields as { origin: string }), message })
  const refuse = (origin: string) => noteRefusedOrigin(origin, listOrigin, { warn } as never, now)

  refuse('http://localhost:3000')
  refuse('http://localhost:3000')
  t.match(lines, [{ event: 'origin_refused', origin: 'http://localhost:3000', message: /add .* to CORS_ORIGINS/ }])
  t.equal(lines.length, 1)

  for (let port = 1; port <= 1_000; port++) refuse(`http://evil.test:${port}`)
  t.equal(lines.length, 100, 'the rest of them have no line')

  now += 60_000
  refuse('http://localhost:3000')
  t.equal(lines.length, 101, 'in the next minute it is named again')
  refuse(`http://${'a'.repeat(20_000)}`)
  t.equal(lines.at(-1)?.origin.length, 300)
})
