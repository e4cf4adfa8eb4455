/// <reference lib="dom" />
import type { Page } from 'playwright-core'
import t from 'tap'
import { startBrowser, startWebApp, withoutBrowser } from '../support/chromium.ts'
import { startMail } from '../support/mail.ts'
import { Client, eventually } from '../support/system.ts'

/*
 * What mail servers and gateways do to the links of a mail before a person reads it: GET and HEAD, with the ticket where a
 * careless program puts it, and a real browser that runs what is on the page and then follows every link there. None of
 * it may use a ticket up.
 *
 *   npm run scanners -- [tickets]
 */
const wanted = Number(process.argv[2] ?? 1_000)

/** How many are looked at at the same time, and how many in one browser. */
const [sideBySide, ofOneBrowser] = [4, 50]

const password = 'seven quiet horses graze'

/** The public paths of the API that take a ticket or give one. */
const paths = [
  'register',
  'register/complete',
  'password/forgot',
  'password/reset',
  'email/confirm',
  'email/revert',
  'tickets/check',
].map((path) => `/api/auth/${path}`)

interface Link {
  page: '/complete-registration' | '/reset-password'
  ticket: string
}

t.setTimeout(7_200_000)
t.test(`${wanted} links that programs open before people do`, { skip: withoutBrowser }, async (t) => {
  const mail = await startMail(t)
  const { system, address } = await startWebApp(
    t,
    { ...mail.settings, REGISTRATION: 'open', REGISTRATION_ROLES: 'patient', MAIL_RATE_LIMIT_MAX: '1000000' },
    true,
  )
  const { gateway, sql } = system
  const anyone = new Client(gateway)
  const links = await issue()
  const state = async () =>
    (
      await sql(`SELECT (SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM auth.tickets t) AS tickets,
        (SELECT md5(string_agg(u::text, ',' ORDER BY id)) FROM auth.users u) AS users`)
    ).rows
  const before = await state()

  await each(links, fetchIt)
  t.strictSame(await state(), before, 'GET and HEAD change nothing')
  // A browser keeps something of each page that it was on.
  for (let opened = 0; opened < links.length; opened += ofOneBrowser) {
    const { context } = await (await startBrowser(t))(address)
    const pages = await Promise.all(Array.from({ length: sideBySide }, () => context.newPage()))
    await each(links.slice(opened, opened + ofOneBrowser), (link, worker) => openAndFollow(pages[worker] as Page, link))
    await context.browser()?.close()
    if (opened % 200 === 0) t.comment(`${opened} opened`)
  }
  t.strictSame(await state(), before, 'a browser that runs the page, and follows every link of it, changes nothing')

  let used = 0
  await each(links, async (link) => {
    if (await use(link)) used += 1
  })
  t.comment(`${links.length} links, ${links.length - used} burnt`)
  t.equal(used, wanted, 'each of them does what it is for')

  /** Half of them make an account, half choose a new password. */
  async function issue(): Promise<Link[]> {
    await sql(
      `INSERT INTO auth.users (id, email, name, password_hash, roles)
       SELECT gen_random_uuid(), 'odd-' || n || '@example.com', 'Some One', password_hash, roles
       FROM auth.users, generate_series(0, $1::int) n WHERE email = 'patient@example.com'`,
      [wanted],
    )
    const numbers = Array.from({ length: wanted }, (_, number) => number)
    await each(numbers, async (number) => {
      const [path, kind] = number % 2 ? ['password/forgot', 'odd'] : ['register', 'even']
      await anyone.call('POST', `/api/auth/${path}`, { body: { email: `${kind}-${number}@example.com` } })
    })
    await eventually('all mails are there', () => mail.smtp.mails.length >= wanted, 600_000)
    return mail.smtp.mails.map(({ text = '', to }) => ({
      page: [to].flat()[0]?.text.startsWith('odd') ? '/reset-password' : '/complete-registration',
      ticket: /#ticket=([\w-]{43})/.exec(text)?.[1] as string,
    }))
  }

  async function fetchIt({ page, ticket }: Link): Promise<void> {
    const pages = ['', `?ticket=${ticket}`, `%23ticket=${ticket}`, `/${ticket}`].map((rest) => page + rest)
    const calls = paths.map((path) => `${path}?ticket=${ticket}&password=${password}&name=x`)
    for (const path of [...pages, ...calls])
      for (const method of ['GET', 'HEAD']) {
        const response = await fetch(address + path, { method, headers: { accept: 'text/html,*/*' } })
        await response.arrayBuffer()
        if (path.startsWith('/api') && response.status < 400) t.fail(`${method} ${path} gave ${response.status}`)
      }
  }

  /** @returns once the page has done all that it does by itself */
  async function openIt(page: Page, link: Link): Promise<void> {
    // Not a change of the hash in a page that is open.
    await page.goto('about:blank')
    await page.goto(`${address}${link.page}#ticket=${link.ticket}`)
    await page.locator('form button[type="submit"]').waitFor()
  }

  async function openAndFollow(page: Page, link: Link): Promise<void> {
    await openIt(page, link)
    for (let place = 0; place < (await page.locator('a').count()); place++) {
      await page.locator('a').nth(place).click()
      await page.locator('h1').waitFor()
      await openIt(page, link)
    }
  }

  async function use({ page, ticket }: Link): Promise<boolean> {
    const [path, body] =
      page === '/reset-password'
        ? ['password/reset', { ticket, password }]
        : ['register/complete', { ticket, password, name: 'Some One' }]
    for (;;) {
      const { status, body: said } = await new Client(gateway).call('POST', `/api/auth/${path}`, { body })
      if (status === 200) return true
      // Many hash a password at the same time.
      if (status !== 503) {
        t.comment(`${path} gave ${status} ${said.code}`)
        return false
      }
      await new Promise((resolve) => setTimeout(resolve, 500))
    }
  }
})

/** Works on all of them, some side by side. */
async function each<Item>(items: Item[], work: (item: Item, worker: number) => Promise<void>): Promise<void> {
  let next = 0
  const run = async (_: unknown, worker: number) => {
    for (let item = items[next++]; item !== undefined; item = items[next++]) await work(item, worker)
  }
  await Promise.all(Array.from({ length: sideBySide }, run))
}
