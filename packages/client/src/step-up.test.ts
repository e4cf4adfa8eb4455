import t from 'tap'
import { signedIn, tokenOf } from './canned-gateway.ts'
import type { AuthClient } from './client.ts'
import type { StepUpNeed } from './index.ts'

/** `/recent` needs a step-up, `/high` one with a second factor; `stepUp` brings the level that its code names. */
async function guarded(onStepUp: (need: StepUpNeed, client: AuthClient) => Promise<boolean>) {
  const asked: StepUpNeed[] = []
  let isRecent = false
  const { client, requests } = await signedIn(
    ({ path, body, acr }) => {
      if (path === 'step-up') {
        isRecent = true
        return { accessToken: tokenOf((body as { code?: string }).code) }
      }
      if (path === '/recent' && !isRecent) return { status: 401, code: 'STEP_UP_REQUIRED', maxAge: 300 }
      if (path === '/high' && acr !== 'aal2') return { status: 401, code: 'STEP_UP_REQUIRED', acr: 'aal2', maxAge: 300 }
      return undefined
    },
    {
      onStepUp(need) {
        asked.push(need)
        return onStepUp(need, client)
      },
    },
  )
  return { client, requests, asked, get: async (path: string) => (await client.fetch(path)).status }
}

const need = { recent: { acr: undefined, maxAge: 300 }, high: { acr: 'aal2', maxAge: 300 } }

t.test('whoever asks the user learns what the call needs', async (t) => {
  const { asked, get, client } = await guarded(async ({ acr = 'aal1' }, client) => {
    await client.stepUp({ code: acr })
    return true
  })
  t.equal(await get('/recent'), 200)
  t.equal(await get('/high'), 200)
  t.strictSame(asked, [need.recent, need.high])
  t.match(client.getSnapshot(), { status: 'signed-in' })
})

t.test('calls share a step-up, and ask once more where it proved too little', async (t) => {
  const { asked, get, requests } = await guarded(async ({ acr = 'aal1' }, client) => {
    await client.stepUp({ code: acr })
    return true
  })
  t.strictSame(await Promise.all(['/recent', '/high', '/recent', '/high'].map(get)), [200, 200, 200, 200])
  t.strictSame(asked, [need.recent, need.high])
  t.equal(requests.filter(({ path }) => path === '/high').length, 4, 'none is sent in vain')
})

t.test('a shared step-up that proved more does for all', async (t) => {
  const { asked, get } = await guarded(async (_, client) => {
    await client.stepUp({ code: 'aal2' })
    return true
  })
  t.strictSame(await Promise.all(['/recent', '/high'].map(get)), [200, 200])
  t.equal(asked.length, 1)
})

t.test('a call asks by itself at most once', async (t) => {
  const { asked, get } = await guarded(async (_, client) => {
    await client.stepUp({ code: 'aal1' })
    return true
  })
  t.strictSame(await Promise.all(['/recent', '/high'].map(get)), [200, 401])
  t.strictSame(asked, [need.recent, need.high])
})

t.test('a user who declines is not asked for the other calls that wait', async (t) => {
  const { asked, get } = await guarded(async () => false)
  t.strictSame(await Promise.all(['/recent', '/high'].map(get)), [401, 401])
  t.equal(asked.length, 1)
})

t.test('who signs out meanwhile is asked nothing more', async (t) => {
  const { asked, get } = await guarded(async (_, client) => {
    void client.logout()
    return true
  })
  t.strictSame(await Promise.all(['/recent', '/high'].map(get)), [401, 401])
  t.equal(asked.length, 1)
})

t.test('calls that need no level share a step-up of a server that names none', async (t) => {
  const { asked, get } = await guarded(async (_, client) => {
    await client.stepUp({ password: 'x' })
    return true
  })
  t.strictSame(await Promise.all(['/recent', '/recent'].map(get)), [200, 200])
  t.equal(asked.length, 1)
})
