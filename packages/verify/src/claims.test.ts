import t from 'tap'
import { claimsOf, identityFromClaims } from './claims.ts'
import type { Identity } from './identity.ts'

t.test('who is calling comes out of claims as it went in', async (t) => {
  const identities: Identity[] = [
    { caller: 'user', userId: 'user-1', email: 'a@example.com', role: 'a', roles: ['a', 'b'], sessionId: 's' },
    { caller: 'client', userId: 'client:nightly', clientId: 'nightly', roles: [], sessionId: 'c', scopes: [] },
    { caller: 'user', issuer: 'https://login.test', userId: 'user-1', roles: [], sessionId: '', scopes: ['a', 'b'] },
    {
      caller: 'user',
      userId: 'user-1',
      email: 'ä@example.com',
      role: 'a',
      roles: ['a'],
      sessionId: 's',
      scopes: ['a'],
      act: { sub: 'client:nightly', sid: 'c', grant: 'g', act: { sub: 'user-2' } },
      acr: 'aal2',
      authTime: 5,
      amr: ['pwd'],
    },
  ]
  for (const identity of identities)
    t.strictSame(identityFromClaims(JSON.parse(JSON.stringify(claimsOf(identity)))), identity)
  t.equal(identityFromClaims({}), undefined)
})
