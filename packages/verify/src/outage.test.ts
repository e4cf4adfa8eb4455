import t from 'tap'
import { createOutage, reasonOf } from './outage.ts'

t.test('a failure is reported once for each reason in a row, and again after it was over', async (t) => {
  const reported: string[] = []
  const outage = createOutage((error) => reported.push((error as Error).message))
  const fail = (message: string) => outage.failed(new Error(message))
  for (const message of ['a', 'a', 'b', 'b', 'a']) fail(message)
  t.strictSame(reported.splice(0), ['a', 'b', 'a'])
  outage.isOver()
  fail('a')
  t.strictSame(reported, ['a'])
})

t.test('a reason has what fetch says in the cause of its error', async (t) => {
  const refused = Object.assign(new Error(''), { code: 'ECONNREFUSED' })
  t.equal(reasonOf(new Error('answered 401')), 'answered 401')
  t.equal(reasonOf(new Error('fetch failed', { cause: refused })), 'fetch failed: ECONNREFUSED')
  t.equal(reasonOf(new Error('fetch failed', { cause: new Error('bad port') })), 'fetch failed: bad port')
})
