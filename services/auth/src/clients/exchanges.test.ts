import type { Database } from '@sallyport/database'
import t from 'tap'
import { addExchange } from './exchanges.ts'

t.test('what fails otherwise than by an exchange that there is stays what it was', async (t) => {
  const create = () => Promise.reject(new Error('the database is gone'))
  const transaction = { $queryRaw: async () => [{}], clientExchange: { count: async () => 0, create } }
  const database = { $transaction: (work: (it: unknown) => unknown) => work(transaction) } as unknown as Database
  const exchange = { from: 'a', audience: 'b', roles: [], scopes: [] }
  await t.rejects(addExchange(database, 'any', exchange), { message: 'the database is gone' })
})
