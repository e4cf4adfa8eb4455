import { isEmail } from '@sallyport/verify'
import fc from 'fast-check'
import t from 'tap'
import { partsOf, spellingsOf, toMailbox } from './mailbox.ts'

t.test('one mailbox has one spelling', async (t) => {
  const bücher = 'anna@xn--bcher-kva.example'
  const spellings: [kept: string, ...typed: string[]][] = [
    [
      'doctor@example.com',
      'Doctor@Example.COM',
      ' doctor@example.com\n',
      'doctor@example.com.',
      'doctor@ｅxample。com',
    ],
    [bücher, 'anna@bücher.example', 'Anna@BÜCHER.Example', 'anna@bu\u0308cher.example', 'anna@XN--BCHER-KVA.example.'],
    ['josé@example.com', 'josé@example.com', 'jose\u0301@example.com', 'JOSÉ@EXAMPLE.com'],
    ['a@xn--strae-oqa.example', 'a@straße.example', 'a@STRAẞE.example'],
    ['a@example.com', 'a@exam\u00adple.com'],
    ['50%25@example.com', '50%25@example.com'],
    ['a@localhost', 'A@localhost'],
    ['a@my_host.example', 'a@my_host.example'],
  ]
  for (const [kept, ...typed] of spellings)
    for (const spelling of typed) t.equal(toMailbox(spelling), kept, JSON.stringify(spelling))
})

t.test('what is no address has none', async (t) => {
  const wrong = [
    '',
    '@',
    'a@',
    '@example.com',
    'a.example.com',
    'a@b@example.com',
    'a b@example.com',
    'a\u0000@example.com',
    'a\u2028b@example.com',
    '\ud800@example.com',
    'a@\ud800.example',
    'a@exa mple.com',
    'a@example..com',
    'a@.example.com',
    'a@example.com..',
    'a@example.com/x',
    'a@example.com:25',
    'a@ex%61mple.com',
    'a@ex％61mple.com',
    'a@[127.0.0.1]',
    'a@127.0.0.1',
    'a@0x7f.1',
    'a@１２７.1',
    'a@xn--a',
    'a@\u0301a.com',
    'a@\u200b.com',
    `${'a'.repeat(250)}@example.com`,
    `a@${'ü'.repeat(250)}.example`,
  ]
  t.strictSame(
    wrong.filter((typed) => toMailbox(typed) !== undefined),
    [],
  )
})

t.test('whatever is typed, the spelling is stable, can be in an identity, and is the first to look for', async () => {
  const unicode = fc.string({ unit: 'binary', minLength: 1, maxLength: 8 })
  const address = fc.oneof(
    fc.tuple(unicode, unicode, fc.constantFrom('', '.example', '。example')).map(([a, b, c]) => `${a}@${b}${c}`),
    fc.emailAddress(),
    fc.string(),
  )
  fc.assert(
    fc.property(address, (typed) => {
      const mailbox = toMailbox(typed)
      if (mailbox === undefined) return spellingsOf(typed).length === 1
      return (
        isEmail(mailbox) &&
        Buffer.byteLength(mailbox) <= 254 &&
        toMailbox(mailbox) === mailbox &&
        toMailbox(` ${typed.normalize('NFD')}`) === toMailbox(typed.normalize('NFC')) &&
        spellingsOf(typed)[0] === mailbox
      )
    }),
    { numRuns: 2_000 },
  )
})

t.test('accounts of earlier versions are looked for too', async (t) => {
  t.strictSame(spellingsOf('Doctor@example.com'), ['doctor@example.com'])
  t.strictSame(spellingsOf('Anna@xn--bcher-kva.example'), ['anna@xn--bcher-kva.example', 'anna@bücher.example'])
  t.strictSame(spellingsOf('jose\u0301@example.com'), ['josé@example.com', 'jose\u0301@example.com'])
  t.strictSame(spellingsOf(' A@[127.0.0.1] '), ['a@[127.0.0.1]'])
})

t.test('a part of an address is looked for as it is kept', async (t) => {
  t.strictSame(partsOf(' Doctor'), ['doctor'])
  t.strictSame(partsOf('a_b'), ['a_b'])
  t.strictSame(partsOf('@Bücher.example'), ['@bücher.example', '@xn--bcher-kva.example'])
  t.strictSame(partsOf('BÜCHER'), ['bücher', 'xn--bcher-kva'])
  t.strictSame(partsOf('jose\u0301@'), ['josé@'])
  t.strictSame(partsOf('%'), ['%'])
})
