import { randomUUID } from 'node:crypto'
import {
  endTickets,
  findTicket,
  issueTicket,
  type Purpose,
  purposes,
  reissueTicket,
  type TicketSecrets,
  useTicket,
} from '@sallyport/auth/accounts/tickets'
import { createDerivedKeys } from '@sallyport/auth/tokens/derived-keys'
import fc from 'fast-check'
import t from 'tap'
import { startDatabase } from '../support/system.ts'

const mostTries = 5

/** What the test knows of a ticket: its present secrets, and what became of it. */
interface Known extends TicketSecrets {
  id: string
  purpose: Purpose
  subject: string
  isOpen: boolean
  codeIsOpen: boolean
  uses: number
  wrong: number
}

type Step =
  | { do: 'issue'; purpose: Purpose; subject: number }
  | { do: 'reissue' | 'expire' | 'expire code' | 'withdraw'; which: number }
  | { do: 'use'; which: number; by: 'link' | 'code'; as: Purpose; times: number }
  | { do: 'guess'; which: number; times: number }

const which = fc.nat(7)
const purpose = fc.constantFrom<Purpose>(...purposes)
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constant('issue' as const), purpose, subject: fc.nat(1) }) },
  fc.record({
    do: fc.constantFrom('reissue' as const, 'expire' as const, 'expire code' as const, 'withdraw' as const),
    which,
  }),
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('use' as const),
      which,
      by: fc.constantFrom('link' as const, 'code' as const),
      as: purpose,
      times: fc.integer({ min: 1, max: 3 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('guess' as const), which, times: fc.integer({ min: 1, max: 7 }) }),
  },
)

t.test('tickets', async (t) => {
  const { database, sql } = await startDatabase(t)
  const keys = createDerivedKeys({ current: { refreshSecrets: ['a secret of this test alone'] } })
  const secretsOf = (sealed: string): TicketSecrets => JSON.parse(keys.open(sealed) as string)
  const proofOf = ({ id, ticket, code }: Known, by: 'link' | 'code') =>
    by === 'link' ? { ticket } : { ticketId: id, code }

  /** As the routes do: found first, used in the transaction of what it is for. */
  async function use(known: Known, by: 'link' | 'code', as: Purpose): Promise<boolean> {
    try {
      const found = await findTicket(database, keys, proofOf(known, by), [as])
      if (found.id !== known.id || found.purpose !== as) throw new Error('another ticket was found')
      await database.$transaction((transaction) => useTicket(transaction, found.id))
      return true
    } catch (error) {
      if ((error as { code?: string }).code === 'TICKET_INVALID') return false
      throw error
    }
  }

  async function take(known: Known[], step: Step, run: string): Promise<void> {
    if (step.do === 'issue') {
      const { purpose } = step
      const subject = `${run} ${step.subject}`
      const { id, secrets } = await database.$transaction((transaction) =>
        issueTicket(transaction, keys, { purpose, subject, email: `${run}@example.com` }),
      )
      for (const other of known) if (other.purpose === purpose && other.subject === subject) other.isOpen = false
      known.push({ id, purpose, subject, ...secretsOf(secrets), isOpen: true, codeIsOpen: true, uses: 0, wrong: 0 })
      return
    }
    const one = known[step.which % Math.max(1, known.length)]
    if (!one) return
    switch (step.do) {
      case 'reissue': {
        const before = { ...one }
        const { secrets } = await database.$transaction((transaction) => reissueTicket(transaction, keys, one))
        const expired = (await sql('SELECT used_at FROM auth.tickets WHERE id = $1', [one.id])).rows[0].used_at === null
        Object.assign(one, secretsOf(secrets), { isOpen: expired, codeIsOpen: true, wrong: 0 })
        if (await use(before, 'link', one.purpose)) throw new Error('the secret before is still good')
        return
      }
      case 'expire':
        await sql("UPDATE auth.tickets SET expires_at = now() - interval '1 second' WHERE id = $1", [one.id])
        one.isOpen = false
        return
      case 'expire code':
        await sql("UPDATE auth.tickets SET code_expires_at = now() - interval '1 second' WHERE id = $1", [one.id])
        one.codeIsOpen = false
        return
      case 'withdraw':
        await database.$transaction((transaction) =>
          endTickets(transaction, { purpose: one.purpose, subject: one.subject }),
        )
        for (const other of known)
          if (other.purpose === one.purpose && other.subject === one.subject) other.isOpen = false
        return
      case 'guess': {
        const wrong = String((Number(one.code) + 1) % 1e8).padStart(8, '0')
        const guesses = Array.from({ length: step.times }, () => use({ ...one, code: wrong }, 'code', one.purpose))
        if ((await Promise.all(guesses)).includes(true)) throw new Error('a wrong code was good')
        if (one.isOpen && one.codeIsOpen) one.wrong = Math.min(mostTries, one.wrong + step.times)
        const { rows } = await sql('SELECT tries FROM auth.tickets WHERE id = $1', [one.id])
        if (rows[0].tries !== one.wrong) throw new Error(`${rows[0].tries} tries were counted of ${one.wrong}`)
        return
      }
      case 'use': {
        const uses = Array.from({ length: step.times }, () => use(one, step.by, step.as))
        const used = (await Promise.all(uses)).filter(Boolean).length
        const isGood = one.isOpen && one.purpose === step.as
        const expected = isGood && (step.by === 'link' || (one.codeIsOpen && one.wrong < mostTries)) ? 1 : 0
        if (used !== expected) throw new Error(`used ${used} times in place of ${expected}`)
        one.uses += used
        if (used > 0) one.isOpen = false
        if (one.uses > 1) throw new Error('used twice')
      }
    }
  }

  await t.test(
    'whatever is done with tickets, in any order, each is used once, for its purpose, and five codes are tried',
    async (t) => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 14 }), async (steps) => {
          const run = randomUUID()
          const known: Known[] = []
          for (const step of steps) await take(known, step, run)
          const { rows } = await sql(
            'SELECT FROM auth.tickets WHERE email = $1 AND used_at IS NULL GROUP BY purpose, subject HAVING count(*) > 1',
            [`${run}@example.com`],
          )
          if (rows.length > 0) throw new Error('two are open')
        }),
        { numRuns: 60 },
      )
      t.pass('60 histories')
    },
  )

  await t.test('two that are issued at once do not both stay open', async (t) => {
    const ticket = { purpose: 'invitation', subject: 'x@example.com', email: 'x@example.com' } as const
    await Promise.allSettled(
      Array.from({ length: 4 }, () => database.$transaction((transaction) => issueTicket(transaction, keys, ticket))),
    )
    const { rows } = await sql("SELECT FROM auth.tickets WHERE subject = 'x@example.com' AND used_at IS NULL")
    t.equal(rows.length, 1)
  })
})
