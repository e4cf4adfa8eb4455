import fc from 'fast-check'
import t from 'tap'
import { readForm } from './form.ts'
import { narrowScopes, targetsOf } from './narrow.ts'

const refused = (error: string) => ({ error }) as unknown as Error
const form = (parameters: Record<string, string>) => readForm(new URLSearchParams(parameters).toString())

t.test('scopes are all that there are, or those that are asked for, each once', async (t) => {
  t.strictSame(narrowScopes(form({}), ['a', 'b']), ['a', 'b'])
  t.strictSame(narrowScopes(form({ scope: '' }), ['a', 'b']), ['a', 'b'])
  t.strictSame(narrowScopes(form({ scope: 'b a b' }), ['a', 'b']), ['b', 'a'])
  for (const scope of ['c', 'a c', ' ', 'a  b', ' a', 'a ', 'A', 'a,b', 'a\tb'])
    t.throws(() => narrowScopes(form({ scope }), ['a', 'b']), refused('invalid_scope'), JSON.stringify(scope))
})

t.test('none comes out that was not allowed', async () => {
  const scope = fc.constantFrom<string>('a', 'b', 'c', 'd', '')
  fc.assert(
    fc.property(fc.array(scope), fc.uniqueArray(scope), (asked, allowed) => {
      try {
        return narrowScopes(form({ scope: asked.join(' ') }), allowed).every((one) => allowed.includes(one))
      } catch (error) {
        return (error as { error: string }).error === 'invalid_scope'
      }
    }),
  )
})

t.test('what a token is for is asked by resource and audience, which say the same', async (t) => {
  const allowed = ['x', 'y', 'z']
  const targets = (body: string) => targetsOf(readForm(body), allowed)
  t.strictSame(targets(''), [])
  t.strictSame(targets('audience=x'), ['x'])
  t.strictSame(targets('resource=y&audience=x&audience=y'), ['y', 'x'])
  for (const body of ['audience=w', 'resource=x&audience=w', 'audience=X'])
    t.throws(() => targets(body), refused('invalid_target'), body)
})
