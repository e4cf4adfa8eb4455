import t from 'tap'
import type { Caller } from './access-token.ts'
import { authorize } from './authorize.ts'
import type { Route } from './route-file.ts'
import { createStepUp } from './step-up.ts'

const now = Date.now()
t.intercept(Date, 'now', { value: () => now })
const secondsAgo = (seconds: number) => now / 1000 - seconds

const callerWith = (identity: object) =>
  ({ identity: { caller: 'user', roles: ['doctor', 'patient'], ...identity } }) as Caller

/** The code of the refusal; undefined if there is none. */
function outcome(rule: object, caller: Caller | undefined): string | undefined {
  try {
    authorize({ access: 'authenticated', callers: ['user'], ...rule } as unknown as Route, caller)
    return undefined
  } catch (error) {
    return (error as { code: string }).code
  }
}

t.test('a route that needs no caller lets any of its kind pass', async (t) => {
  for (const access of ['public', 'optional'])
    for (const caller of [undefined, callerWith({})]) t.equal(outcome({ access }, caller), undefined)
})

t.test('a caller needs one of the roles', async (t) => {
  t.equal(outcome({}, undefined), 'TOKEN_MISSING')
  t.equal(outcome({}, callerWith({})), undefined)
  t.equal(outcome({ roles: ['admin', 'patient'] }, callerWith({})), undefined)
  t.equal(outcome({ roles: ['admin'] }, callerWith({})), 'ROLE_REQUIRED')
})

t.test('a caller is of a kind that the route is for, has a role of it and all of its scopes', async (t) => {
  const kinds = [['user'], ['client'], ['user', 'client']]
  const scopesHeld = [undefined, [], ['read'], ['read', 'write'], ['reads', 'read ', 'READ']]
  for (const access of ['authenticated', 'optional'])
    for (const callers of kinds)
      for (const roles of [undefined, ['doctor']])
        for (const scopes of [undefined, ['read'], ['read', 'write']])
          for (const caller of ['user', 'client'])
            for (const held of [['doctor'], ['patient'], []])
              for (const has of scopesHeld) {
                // Only people have tokens of their own, which no scope limits.
                if (caller === 'client' && has === undefined) continue
                const expected = !callers.includes(caller)
                  ? 'CALLER_REFUSED'
                  : roles && !held.includes('doctor')
                    ? 'ROLE_REQUIRED'
                    : scopes && has && !scopes.every((scope) => has.includes(scope))
                      ? 'SCOPE_REQUIRED'
                      : undefined
                const rule = { access, callers, roles, scopes }
                const identity = { caller, roles: held, ...(has && { scopes: has }) }
                const found = outcome(rule, callerWith(identity))
                if (found !== expected) t.fail(`${found} is not ${expected}`, { rule, identity })
              }
  t.equal(outcome({ access: 'optional', callers: ['client'] }, undefined), undefined, 'nobody is of no kind')
})

t.test('who lacks a scope hears which are needed (RFC 6750 section 3.1)', async (t) => {
  const rule = { access: 'authenticated', callers: ['client'], scopes: ['a:read', 'a:write'] } as unknown as Route
  t.throws(() => authorize(rule, callerWith({ caller: 'client', scopes: ['a:read'] })), {
    statusCode: 403,
    code: 'SCOPE_REQUIRED',
    headers: { 'www-authenticate': 'Bearer error="insufficient_scope", scope="a:read a:write"' },
  })
})

t.test('a caller needs the level of the route, or a higher one', async (t) => {
  const enough = { aal1: ['aal1', 'aal2'], aal2: ['aal2'] } as const
  const all = [undefined, '', 'aal0', 'aal1', 'aal2', 'aal3', 'AAL2', 'aal2 ', '2', 'urn:mace:incommon:iap:silver']
  for (const level of ['aal1', 'aal2'] as const)
    for (const acr of all) {
      const isEnough = (enough[level] as readonly (string | undefined)[]).includes(acr)
      const expected = isEnough ? undefined : 'STEP_UP_REQUIRED'
      t.equal(outcome({ stepUp: createStepUp(level, undefined) }, callerWith({ acr })), expected, `${acr} for ${level}`)
    }
})

t.test('a caller must have proved who they are within the age of the route', async (t) => {
  const stepUp = createStepUp(undefined, 300)
  const outcomes: [authTime: number | undefined, string | undefined][] = [
    [secondsAgo(0), undefined],
    [secondsAgo(299), undefined],
    [secondsAgo(300), undefined],
    [secondsAgo(301), 'STEP_UP_REQUIRED'],
    [0, 'STEP_UP_REQUIRED'],
    [undefined, 'STEP_UP_REQUIRED'],
    // A clock that is ahead of ours.
    [secondsAgo(-60), undefined],
  ]
  for (const [authTime, expected] of outcomes)
    t.equal(outcome({ stepUp }, callerWith({ authTime })), expected, `${authTime}`)
  t.equal(outcome({ stepUp }, callerWith({ acr: 'aal2' })), 'STEP_UP_REQUIRED', 'a level says nothing of the time')
})

t.test('a route may want both, and the role before either', async (t) => {
  const rule = { roles: ['doctor'], stepUp: createStepUp('aal2', 300) }
  t.equal(outcome(rule, callerWith({ acr: 'aal2', authTime: secondsAgo(10) })), undefined)
  t.equal(outcome(rule, callerWith({ acr: 'aal2', authTime: secondsAgo(301) })), 'STEP_UP_REQUIRED')
  t.equal(outcome(rule, callerWith({ acr: 'aal1', authTime: secondsAgo(10) })), 'STEP_UP_REQUIRED')
  t.equal(outcome({ ...rule, roles: ['admin'] }, callerWith({})), 'ROLE_REQUIRED')
})

t.test('the refusal says what is needed, and no more', async (t) => {
  const refusals = [
    [createStepUp('aal2', 300), ', acr_values="aal2", max_age="300"', { acr: 'aal2', maxAge: 300 }],
    [createStepUp('aal1', undefined), ', acr_values="aal1"', { acr: 'aal1' }],
    [createStepUp(undefined, 60), ', max_age="60"', { maxAge: 60 }],
  ] as const
  for (const [{ required }, parameters, members] of refusals) {
    t.strictSame(required.headers, {
      'www-authenticate': `Bearer error="insufficient_user_authentication"${parameters}`,
    })
    const { acr, maxAge, ...body } = required.body() as Record<string, unknown>
    t.strictSame({ ...(acr !== undefined && { acr }), ...(maxAge !== undefined && { maxAge }) }, members)
    t.match(body, { status: 401, code: 'STEP_UP_REQUIRED', detail: /POST \/api\/auth\/step-up/ })
  }
})
