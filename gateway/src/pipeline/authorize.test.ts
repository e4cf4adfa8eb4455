import t from 'tap'
import type { Caller } from './access-token.ts'
import { authorize } from './authorize.ts'
import type { Route } from './route-file.ts'
import { createStepUp } from './step-up.ts'

const now = Date.now()
t.intercept(Date, 'now', { value: () => now })
const secondsAgo = (seconds: number) => now / 1000 - seconds

const callerWith = (identity: object) => ({ identity: { roles: ['doctor', 'patient'], ...identity } }) as Caller

/** The code of the refusal; undefined if there is none. */
function outcome(rule: object, caller: Caller | undefined): string | undefined {
  try {
    authorize({ access: 'authenticated', ...rule } as Route, caller)
    return undefined
  } catch (error) {
    return (error as { code: string }).code
  }
}

t.test('a route that is not only for callers lets anybody pass', async (t) => {
  for (const access of ['public', 'optional'])
    for (const caller of [undefined, callerWith({})]) t.equal(outcome({ access }, caller), undefined)
})

t.test('a caller needs one of the roles', async (t) => {
  t.equal(outcome({}, undefined), 'TOKEN_MISSING')
  t.equal(outcome({}, callerWith({})), undefined)
  t.equal(outcome({ roles: ['admin', 'patient'] }, callerWith({})), undefined)
  t.equal(outcome({ roles: ['admin'] }, callerWith({})), 'ROLE_REQUIRED')
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
