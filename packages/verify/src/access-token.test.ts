import t from 'tap'
import { createTokenReader } from './access-token.ts'

t.test('a token that is too long is counted, and not even read', async (t) => {
  let count = 0
  const read = createTokenReader(
    () => t.fail('its issuer was looked for') as never,
    () => t.fail('its signature was checked') as never,
    () => (count += 1),
  )
  const header = Buffer.from('{"alg":"ES256","kid":"a"}').toString('base64url')
  t.throws(() => read(`${header}.${'A'.repeat(8_192)}.AAAA`), { code: 'TOKEN_INVALID' })
  t.equal(count, 1)
})
