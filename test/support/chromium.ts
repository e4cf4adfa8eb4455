/// <reference lib="dom" />
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { routesFile } from '@sallyport/bench/settings'
import { endProcesses, startProcess } from '@sallyport/local'
import { type BrowserContext, chromium, type Page } from 'playwright-core'
import type { Test } from 'tap'
import { demoPassword, eventually, freePort, type System, startSystem, temporaryFolder } from './system.ts'

/** Reason to skip what needs a browser; false where there is one. */
export const withoutBrowser = process.env.CHROMIUM
  ? false
  : 'this needs a browser: set CHROMIUM to the path of Chromium, such as /usr/bin/chromium'

const flags = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  // A name of the local network, whose pages browsers trust with nothing.
  '--host-resolver-rules=MAP box.lan 127.0.0.1',
]

export interface WebApp {
  system: System
  /** Where the page is. */
  address: string
  /** Between the browser and the gateway. */
  network: Network
  /** Creates a user that no other test knows, with the demo password. @returns the e-mail address */
  newUser(role?: string): Promise<string>
  /** A browser of its own: cookies and storage are empty. */
  open(options?: OpenOptions): Promise<Visitor>
}

interface OpenOptions {
  /** Scripts to run before those of each page. */
  scripts?: string[]
  /** How far the clock of the machine is off, in milliseconds. */
  clockOff?: number
  locale?: string
  /** Whether the browser is set to let no page keep anything. */
  blocksCookies?: boolean
  /** Where the page is, under another name: the browsers know this machine as `box.lan` too. */
  address?: string
}

/**
 * The whole system with the web app, and a real browser: the page has an origin of its own and sends requests to the
 * gateway's, or `sharesOrigin` with the gateway, which forwards to it what is not an API request.
 *
 * @param at `localhost` for passkeys, which browsers make for no IP address; with a shared origin alone
 */
export async function startWebApp(
  t: Test,
  settings: Record<string, string> = {},
  sharesOrigin = false,
  at = '127.0.0.1',
): Promise<WebApp> {
  const port = await freePort()
  const own = `http://127.0.0.1:${port}`
  const shared = await freePort()
  const routes = { GATEWAY_ROUTES: routesWithPage(t), WEB_URL: own }
  const system = await startSystem(
    t,
    {
      DIRECTORY_ROLES: 'admin,doctor',
      CORS_ORIGINS: at === 'localhost' ? `http://localhost:${shared}` : own,
      ...(sharesOrigin && routes),
      ...settings,
    },
    ['appointments', 'notifications'],
  )
  const network = await openNetwork(t, Number(new URL(system.gateway).port), sharesOrigin ? shared : 0)
  const web = await startProcess(
    'web',
    {
      ...system.environment,
      WEB_PORT: String(port),
      MANAGEMENT_PORT: '0',
      ...(!sharesOrigin && { GATEWAY_ORIGIN: network.address }),
    },
    (line) => system.log.push(line),
  )
  const address = sharesOrigin ? `http://${at}:${shared}` : own
  t.teardown(() => endProcesses([web]))
  const openAt = await startBrowser(t)
  let users = 0
  return {
    system,
    address,
    network,
    async newUser(role = 'doctor') {
      users += 1
      const email = `${role}-${users}@example.com`
      await system.sql(
        `INSERT INTO auth.users (id, email, name, password_hash, roles)
         SELECT gen_random_uuid(), $1, 'Some One', password_hash, ARRAY[$2] FROM auth.users WHERE email = $3`,
        [email, role, 'doctor@example.com'],
      )
      return email
    },
    open: (options) => openAt(address, options),
  }
}

/** @returns a function that opens the pages of an address, for one user at a time */
export async function startBrowser(t: Test): Promise<(address: string, options?: OpenOptions) => Promise<Visitor>> {
  const executablePath = process.env.CHROMIUM as string
  const browser = await chromium.launch({ executablePath, args: flags })
  t.teardown(() => browser.close())
  return async (webAddress, { blocksCookies, locale = 'en-GB', address = webAddress, ...options } = {}) => {
    const settings = { locale, baseURL: address }
    if (!blocksCookies) return openVisitor(await browser.newContext(settings), options)
    const profile = temporaryFolder(t)
    mkdirSync(join(profile, 'Default'))
    const blocked = { profile: { default_content_setting_values: { cookies: 2 } } }
    writeFileSync(join(profile, 'Default/Preferences'), JSON.stringify(blocked))
    const context = await chromium.launchPersistentContext(profile, { ...settings, executablePath, args: flags })
    t.teardown(() => context.close())
    return openVisitor(context, options)
  }
}

export type Network = Awaited<ReturnType<typeof openNetwork>>

/** The routes that are delivered, and the page for every other path. */
function routesWithPage(t: Test): string {
  const file = join(temporaryFolder(t), 'routes.yaml')
  const page = '  - { prefix: /, upstreams: ["${WEB_URL}"], access: public }'
  writeFileSync(file, `${readFileSync(routesFile, 'utf8').trimEnd()}\n${page}\n`)
  return file
}

/** A proxy that can lose a response after the server has acted. */
async function openNetwork(t: Test, port: number, listenAt: number) {
  const sockets = new Set<Socket>()
  const state = { lost: 0, loses: undefined as { request: string; holding: string } | undefined }

  const server = createServer((client) => {
    const upstream = connect(port, '127.0.0.1')
    let isLosing = false
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.once('close', () => {
        sockets.delete(socket)
        other.destroy()
      })
    }
    client.on('data', (bytes) => {
      const text = bytes.toString('latin1')
      if (state.loses && text.startsWith(`${state.loses.request} `) && text.includes(state.loses.holding)) {
        state.loses = undefined
        isLosing = true
      }
      upstream.write(bytes)
    })
    upstream.on('data', (bytes) => {
      if (!isLosing) return client.write(bytes)
      state.lost += 1
      client.destroy()
    })
  }).listen(listenAt, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** Loses the response to the next request, such as `POST /api/auth/refresh`, that contains this text. */
    loseResponseTo(request: string, holding: string): void {
      state.loses = { request, holding }
    },
    get lost() {
      return state.lost
    },
  }
}

/** A person with a browser: one profile, and the page that opens first. */
export interface Visitor {
  context: BrowserContext
  page: Page
  /** What the browser complained about: a policy violation, a script that failed. */
  complaints: string[]
  /** How many refreshes its pages requested. */
  refreshes(): number
  visit(path: string, page?: Page): Promise<void>
  signIn(email?: string): Promise<void>
  close(): Promise<void>
}

async function openVisitor(context: BrowserContext, { scripts = [], clockOff = 0 }: OpenOptions): Promise<Visitor> {
  context.setDefaultTimeout(60_000)
  const complaints: string[] = []
  let refreshes = 0
  context.on('request', (request) => {
    if (request.method() === 'POST' && request.url().endsWith('/api/auth/refresh')) refreshes += 1
  })
  context.on('weberror', (error) => complaints.push(String(error.error())))
  context.on('console', (message) => {
    if (/Content Security Policy|Trusted ?Type|Refused to/i.test(message.text())) complaints.push(message.text())
  })
  if (clockOff !== 0) await context.addInitScript(moveClock, clockOff)
  for (const content of scripts) await context.addInitScript({ content })
  const first = await context.newPage()
  return {
    context,
    page: first,
    complaints,
    refreshes: () => refreshes,
    async visit(path, page = first) {
      await page.goto(path)
    },
    async signIn(email = 'doctor@example.com') {
      await first.goto('/login')
      await first.getByLabel('E-mail').fill(email)
      await first.getByLabel('Password', { exact: true }).fill(demoPassword)
      await first.getByRole('button', { name: 'Sign in', exact: true }).click()
      await first.getByRole('navigation').waitFor()
    },
    close: () => context.close(),
  }
}

/** In the page: a machine whose clock is wrong. */
function moveClock(by: number): void {
  const RealDate = Date
  globalThis.Date = class extends RealDate {
    constructor(...values: []) {
      if (values.length === 0) super(RealDate.now() + by)
      else super(...values)
    }
    static override now() {
      return RealDate.now() + by
    }
  } as DateConstructor
}

/** The access token that a page has. */
export const tokenOf = (page: Page): Promise<string | null> => page.evaluate(() => localStorage.getItem('accessToken'))

/** Waits until a page has another access token than this one. */
export async function nextToken(page: Page, before: string | null): Promise<string> {
  let token: string | null = null
  await eventually(
    'there is another access token',
    async () => {
      token = await tokenOf(page)
      return token !== null && token !== before
    },
    20_000,
  )
  return token as unknown as string
}
