import fc from 'fast-check'
import t from 'tap'
import { readForm } from './form.ts'

const refused = (error: string) => ({ error }) as unknown as Error

t.test('a parameter is there once, or not at all if it is empty (RFC 6749 section 3.2)', async (t) => {
  const form = readForm('a=1&b=&c=&c=2&d=3&d=4&=5&e=a+b%20c&f')
  t.equal(form.get('a'), '1')
  t.equal(form.get('b'), undefined)
  t.equal(form.get('c'), '2', 'one that is empty does not count')
  t.equal(form.get('e'), 'a b c')
  t.equal(form.get('f'), undefined)
  t.equal(form.get('__proto__'), undefined)
  t.throws(() => form.get('d'), refused('invalid_request'))
  t.throws(() => form.get('d'), { message: 'd came more than once' })
  t.strictSame(form.all('d'), ['3', '4'])
  t.strictSame(form.all('none'), [])
  t.equal(form.need('a'), '1')
  for (const name of ['b', 'none']) t.throws(() => form.need(name), refused('invalid_request'))
})

t.test('whatever is sent comes out as it went in', async () => {
  const text = fc.string({ unit: 'grapheme', minLength: 1 })
  fc.assert(
    fc.property(fc.dictionary(text, text), (parameters) => {
      const form = readForm(new URLSearchParams(parameters).toString())
      return Object.entries(parameters).every(([name, value]) => form.need(name) === value)
    }),
  )
})

t.test('no body is a failure', async () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (body) => {
      readForm(body).all('a')
    }),
  )
})
