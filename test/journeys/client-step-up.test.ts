import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { routesFile } from '@sallyport/bench/settings'
import type { AuthClient, StepUpNeed, StepUpProof } from '@sallyport/client'
import { createSigner } from '@sallyport/identity'
import t, { type Test } from 'tap'
import { password } from '../support/accounts.ts'
import { Browser } from '../support/browser.ts'
import { openFactors } from '../support/factors.ts'
import { claimsOf, temporaryFolder } from '../support/system.ts'

const need = { recent: { acr: undefined, maxAge: 300 }, high: { acr: 'aal2', maxAge: 300 } }

t.test('calls that need a newer or a higher proof of who is signed in', async (t) => {
  const file = join(temporaryFolder(t), 'routes.yaml')
  const own = { upstreams: ['${AUTH_URL}'], rewrite: '/api/auth/me', access: 'authenticated', audience: 'auth' }
  const routes = [
    { ...own, prefix: '/recent', maxAge: '5m' },
    { ...own, prefix: '/high', acr: 'aal2', maxAge: '5m' },
  ]
  writeFileSync(file, [readFileSync(routesFile), ...routes.map((route) => `  - ${JSON.stringify(route)}`)].join('\n'))
  const { gateway, secrets, register, enrolPasskey, age } = await openFactors(t, { GATEWAY_ROUTES: file })
  let people = 0

  /** What somebody proves, or just says. */
  type Prove = (need: StepUpNeed, person: { client: AuthClient; code(): StepUpProof }) => StepUpProof | boolean

  /** Somebody whose session is from long ago, and from before they had a second factor. */
  async function open(t: Test, prove: Prove) {
    people += 1
    const email = `person-${people}@example.com`
    const elsewhere = await register(email)
    const asked: StepUpNeed[] = []
    const browser = new Browser(gateway)
    t.teardown(() => browser.close())
    const { client } = browser.open({
      async onStepUp(need) {
        asked.push(need)
        // People take longer than the other calls do.
        await arrived
        const proof = prove(need, { client, code: () => ({ code: recoveryCodes.pop() as string }) })
        if (typeof proof === 'boolean') return proof
        await client.stepUp(proof)
        return true
      },
    })
    await client.login({ email, password })
    const { recoveryCodes = [] } = await enrolPasskey(elsewhere)
    await age(elsewhere)
    await client.refresh()

    // The page has each response, and all of it, in the order of the requests.
    let arrived = Promise.resolve()
    browser.network = async (deliver) => {
      const before = arrived
      let arrive = () => {}
      arrived = new Promise((resolve) => {
        arrive = resolve
      })
      const response = await deliver()
      await response.clone().arrayBuffer()
      await before
      setImmediate(arrive)
      return response
    }
    const get = async (path: string) => (await client.fetch(path)).status
    return { browser, client, asked, get, together: (...paths: string[]) => Promise.all(paths.map(get)) }
  }

  const whatIsNeeded: Prove = ({ acr }, { code }) => (acr === 'aal2' ? code() : { password })

  await t.test('whoever asks the user learns what the call needs', async (t) => {
    const { client, asked, get } = await open(t, whatIsNeeded)
    t.equal(await get('/recent'), 200)
    t.equal(await get('/high'), 200)
    t.strictSame(asked, [need.recent, need.high])
    t.match(client.getSnapshot(), { status: 'signed-in' })
  })

  await t.test('calls share a step-up, and ask once more where it proved too little', async (t) => {
    const { browser, asked, together } = await open(t, whatIsNeeded)
    t.strictSame(await together('/recent', '/high', '/recent', '/high'), [200, 200, 200, 200])
    t.strictSame(asked, [need.recent, need.high])
    t.equal(browser.sent.filter(({ path }) => path === '/high').length, 4, 'none is sent in vain')
  })

  await t.test('a shared step-up that proved more does for all', async (t) => {
    const { asked, together } = await open(t, (_, { code }) => code())
    t.strictSame(await together('/recent', '/high'), [200, 200])
    t.strictSame(asked, [need.recent])
  })

  await t.test('a call asks by itself at most once', async (t) => {
    const { asked, together } = await open(t, () => ({ password }))
    t.strictSame(await together('/recent', '/high'), [200, 401])
    t.strictSame(asked, [need.recent, need.high])
  })

  await t.test('a user who declines is not asked for the other calls that wait', async (t) => {
    const { asked, together } = await open(t, () => false)
    t.strictSame(await together('/recent', '/high'), [401, 401])
    t.strictSame(asked, [need.recent])
  })

  await t.test('who signs out meanwhile is asked nothing more', async (t) => {
    const { client, asked, together } = await open(t, (_, { client }) => {
      void client.logout()
      return true
    })
    t.strictSame(await together('/recent', '/high'), [401, 401])
    t.strictSame(asked, [need.recent])
    t.match(client.getSnapshot(), { signOut: { code: 'LOGOUT' } })
  })

  await t.test('calls that need no level share a step-up of a server that names none', async (t) => {
    const { browser, client, asked, together } = await open(t, () => ({ password }))
    const sign = createSigner(secrets.JWT_PRIVATE_KEY as string, 'at+jwt')
    const { network } = browser
    browser.network = async (deliver, sent) => {
      const response = await network(deliver, sent)
      if (!sent.path.endsWith('/step-up')) return response
      const {
        acr: _acr,
        amr: _amr,
        ...claims
      } = claimsOf(((await response.json()) as { accessToken: string }).accessToken)
      return Response.json({ accessToken: sign(claims) })
    }
    t.strictSame(await together('/recent', '/recent'), [200, 200])
    t.strictSame(asked, [need.recent])
    t.notOk('acr' in claimsOf(client.getAccessToken() as string))
  })
})
