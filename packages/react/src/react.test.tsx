import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type AuthClient, type AuthClientOptions, createAuthClient } from '@sallyport/client'
import { withImpersonation } from '@sallyport/client/impersonation'
import { Window } from 'happy-dom'
import { act, type ReactNode, StrictMode } from 'react'
import { createRoot, hydrateRoot } from 'react-dom/client'
import { renderToString } from 'react-dom/server'
import { MemoryRouter, Route, Routes, useLocation, useNavigate } from 'react-router'
import t, { type Test } from 'tap'
import {
  AuthProvider,
  type AuthProviderProps,
  createStepUpPrompt,
  ProtectedRoute,
  takeReturnPath,
  useAuth,
  useStepUp,
} from './index.ts'

/** A page at an address, and a server that knows one user, whose roles and session can be changed. */
async function openPage(t: Test, path = '/') {
  const requests: string[] = []
  const user = { roles: ['doctor'], isOver: false }
  const server = createServer((request, response) => {
    const name = (request.url as string).split('/').at(-1) as string
    requests.push(name)
    if (name === 'secret' && !requests.includes('step-up'))
      return response.writeHead(401).end(JSON.stringify({ code: 'STEP_UP_REQUIRED', acr: 'aal2', maxAge: 300 }))
    const refused = user.isOver && name === 'refresh'
    const body = refused ? { code: 'SESSION_ENDED', reason: 'disabled' } : { accessToken: tokenOf(user.roles) }
    response.writeHead(refused ? 401 : 200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

  const window = new Window({ url: `http://app.test${path}` })
  const { document, location, CustomEvent } = window
  const page = { window, document, location, CustomEvent, IS_REACT_ACT_ENVIRONMENT: true }
  for (const [name, value] of Object.entries(page)) t.intercept(globalThis, name as 'window', { value })
  const container = window.document.createElement('div')
  window.document.body.append(container)
  const clients: AuthClient[] = []
  t.teardown(async () => {
    for (const client of clients) client.stopTokenMonitoring()
    server.closeAllConnections()
    server.close()
    await window.happyDOM.close()
  })

  const went: string[] = []
  return {
    requests,
    user,
    went,
    window,
    container: container as unknown as HTMLElement,
    shown: () => container.textContent,
    createClient(options: Partial<AuthClientOptions> = {}) {
      const client = createAuthClient({ baseUrl, ...options })
      clients.push(client)
      return client
    },
    /** Renders as an app does, with effects run twice as in development. */
    async render(client: AuthClient, children: ReactNode, props: Partial<AuthProviderProps> = {}) {
      const root = createRoot(container as unknown as HTMLElement)
      const navigate = (to: string) => void went.push(to)
      await act(async () =>
        root.render(
          <StrictMode>
            <AuthProvider client={client} navigate={navigate} {...props}>
              {children}
            </AuthProvider>
          </StrictMode>,
        ),
      )
      return root
    },
  }
}

function tokenOf(roles: string[], more: object = {}): string {
  const iat = Math.floor(Date.now() / 1000)
  const claims = { iat, exp: iat + 900, sub: 'user-1', sid: 'session-1', email: 'd@example.com', roles, ...more }
  return `e30.${Buffer.from(JSON.stringify({ ...claims, jti: Math.random() })).toString('base64url')}.c2ln`
}

const doctor = { email: 'd@example.com', password: 'x' }

function Who() {
  const { status, user, role } = useAuth()
  return <p>{`${status} ${user?.email ?? 'nobody'} ${role ?? 'nothing'}`}</p>
}

/** Lets React and the network go on until something holds. */
async function until(what: string, check: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 10_000; !check(); ) {
    if (Date.now() > deadline) throw new Error(`not within 10 s: ${what}`)
    await act(() => new Promise((resolve) => setTimeout(resolve, 10)))
  }
}

t.test('who is not signed in is sent to log in, sees nothing, and finds the way back', async (t) => {
  const page = await openPage(t, '/patients?page=2#last')
  const client = page.createClient()
  await page.render(client, <ProtectedRoute loading="loading">secret</ProtectedRoute>, { loginPath: '/sign-in' })
  t.equal(page.shown(), '')
  t.strictSame([...new Set(page.went)], ['/sign-in'])
  t.strictSame(page.requests, [], 'nothing is requested for a stranger')
  t.equal(takeReturnPath('/home'), '/patients?page=2#last')
  t.equal(takeReturnPath('/home'), '/home', 'once')
  t.equal(takeReturnPath(), '/')
})

t.test('the login is never the way back, however its path is written', async (t) => {
  const paths = {
    '/login': ['/login', '/login/', '/login?from=here', '/login#form'],
    '/login/': ['/login', '/login/'],
    login: ['/login'],
    '/login?theme=dark#form': ['/login?theme=dark#form', '/login', '/login?from=here&theme=dark'],
    'http://app.test/login': ['/login'],
    '/?page=login': ['/?page=login', '/?page=login&from=here'],
    '/#/login': ['/#/login', '/#/login/', '/#/login?from=here'],
  }
  for (const [loginPath, places] of Object.entries(paths))
    for (const place of places) {
      const page = await openPage(t, place)
      await page.render(page.createClient(), <ProtectedRoute />, { loginPath })
      t.equal(takeReturnPath('none'), 'none', `${loginPath} at ${place}`)
    }
  const others = {
    '/login': ['/', '/login/help', '/loginx'],
    'https://login.test/login': ['/login'],
    '/?page=login': ['/?page=users', '/users?page=login'],
    '/#/login': ['/#/users', '/#/login/help', '/users'],
  }
  for (const [loginPath, places] of Object.entries(others))
    for (const place of places) {
      const page = await openPage(t, place)
      await page.render(page.createClient(), <ProtectedRoute />, { loginPath })
      t.equal(takeReturnPath('none'), place, `${loginPath} at ${place}`)
    }
})

t.test('with effects run twice the way back is the page that was open first', async (t) => {
  const page = await openPage(t, '/users?page=2')
  // The app lives under a path of which `loginPath` does not know.
  const navigate = () => page.window.history.replaceState(null, '', '/app/login')
  await page.render(page.createClient(), <ProtectedRoute />, { navigate })
  t.equal(page.window.location.pathname, '/app/login')
  t.equal(takeReturnPath(), '/users?page=2')
})

t.test('where storage is blocked or full, the way back is known until the page ends', async (t) => {
  const refuse = () => {
    throw new DOMException('Access is denied for this document', 'SecurityError')
  }
  for (const storage of [{ get: refuse }, { value: { setItem: refuse, getItem: () => null, removeItem: () => {} } }]) {
    const page = await openPage(t, '/patients')
    Object.defineProperty(page.window, 'sessionStorage', { configurable: true, ...storage })
    await page.render(page.createClient(), <ProtectedRoute />)
    t.strictSame([...new Set(page.went)], ['/login'])
    t.equal(takeReturnPath('/home'), '/patients')
    t.equal(takeReturnPath('/home'), '/home', 'once')
  }
})

t.test('no link leads to another host by way of a login', async (t) => {
  for (const path of ['//elsewhere.test/x', '///elsewhere.test/x', '/\\elsewhere.test/x']) {
    const page = await openPage(t, path)
    await page.render(page.createClient(), <ProtectedRoute />)
    t.equal(takeReturnPath(), '/elsewhere.test/x')
  }
})

t.test('who is signed in sees the page at once, and the page follows', async (t) => {
  const page = await openPage(t)
  await page.createClient().login(doctor)
  const client = page.createClient()
  await page.render(
    client,
    <ProtectedRoute requireRole={['admin', 'doctor']} loading="loading">
      <Who />
    </ProtectedRoute>,
  )
  t.equal(page.shown(), 'signed-in d@example.com doctor')
  page.user.roles = ['admin']
  await act(() => client.refresh())
  t.equal(page.shown(), 'signed-in d@example.com admin')
  t.strictSame(page.requests, ['login', 'refresh'])

  page.user.isOver = true
  await act(() => client.refresh())
  t.equal(page.shown(), '')
  t.same(new Set(page.went), new Set(['/login']))
})

t.test('a page that has to fetch the token first says so, and asks once', async (t) => {
  const page = await openPage(t)
  await page.createClient().login(doctor)
  page.window.localStorage.removeItem('accessToken')
  const renders: string[] = []
  const Seen = () => void renders.push(useAuth().status)
  const shown = page.render(
    page.createClient(),
    <>
      <Seen />
      <ProtectedRoute loading="loading">
        <Who />
      </ProtectedRoute>
    </>,
  )
  await shown
  await until('the token is there', () => page.shown() === 'signed-in d@example.com doctor')
  t.strictSame([...new Set(renders)], ['loading', 'signed-in'], 'and never takes it for a stranger')
  t.strictSame(page.requests, ['login', 'refresh'], 'with effects run twice')
  t.strictSame(page.went, [])
})

t.test('who lacks the role goes home, or sees why not', async (t) => {
  const page = await openPage(t)
  const client = page.createClient()
  await client.login(doctor)
  const root = await page.render(client, <ProtectedRoute requireRole="admin">secret</ProtectedRoute>)
  t.equal(page.shown(), '')
  t.strictSame([...new Set(page.went)], ['/'])
  await act(async () => root.unmount())

  page.went.length = 0
  await page.render(
    client,
    <ProtectedRoute requireRole="admin" forbidden="not for you">
      secret
    </ProtectedRoute>,
  )
  t.equal(page.shown(), 'not for you')
  t.strictSame(page.went, [])
  t.equal(takeReturnPath('none'), 'none', 'this is no way back from a login')
})

t.test('who logs out is not brought back, and neither is the next user', async (t) => {
  const page = await openPage(t, '/mine')
  const client = page.createClient()
  await client.login(doctor)
  let leave = async () => {}
  const Page = () => {
    leave = useAuth().logout
    return <ProtectedRoute>mine</ProtectedRoute>
  }
  await page.render(client, <Page />)
  t.equal(page.shown(), 'mine')
  await act(() => leave())
  t.equal(page.shown(), '')
  t.same(new Set(page.went), new Set(['/login']))
  t.equal(takeReturnPath('/home'), '/home')
})

t.test('while somebody acts for another user, the page is that of the other one', async (t) => {
  const page = await openPage(t)
  page.user.roles = ['admin']
  const client = withImpersonation(page.createClient())
  await client.login(doctor)
  let auth: ReturnType<typeof useAuth> | undefined
  const Actor = () => {
    auth = useAuth()
    return auth.actor ? `${auth.actor.email} as ` : null
  }
  await page.render(
    client,
    <>
      <Actor />
      <Who />
      <ProtectedRoute requireRole="admin" forbidden=" forbidden">
        {' for admins'}
      </ProtectedRoute>
    </>,
  )
  t.equal(page.shown(), 'signed-in d@example.com admin for admins')
  const user = { id: 'user-2', email: 'p@example.com', name: 'Pat', roles: ['patient'] }
  const accessToken = tokenOf(user.roles, { sub: user.id, act: { sub: 'user-1' } })
  await act(async () => auth?.actAs?.({ accessToken, expiresIn: 900, user }))
  t.equal(page.shown(), 'd@example.com as signed-in p@example.com patient forbidden')
  await act(async () => auth?.stopActing?.())
  t.equal(page.shown(), 'signed-in d@example.com admin for admins')
})

t.test('monitoring ends with the provider', async (t) => {
  const page = await openPage(t)
  const client = page.createClient()
  await client.login(doctor)
  const root = await page.render(client, <Who />)
  await act(async () => root.unmount())
  page.window.localStorage.removeItem('accessToken')
  page.window.dispatchEvent(new page.window.Event('focus'))
  t.equal(client.getAccessToken(), null)
  t.strictSame(page.requests, ['login'])
})

t.test('who has to confirm who they are is asked by a component, and may decline', async (t) => {
  const page = await openPage(t)
  const prompt = createStepUpPrompt()
  const client = page.createClient({ onStepUp: prompt.ask })
  await client.login(doctor)
  const statuses: number[] = []
  const request = () => act(async () => void client.fetch('/secret').then(({ status }) => statuses.push(status)))
  await request()
  await until('nobody could ask', () => statuses.length === 1)

  let confirm: (proof: { password: string }) => Promise<void> = async () => {}
  let cancel = () => {}
  const Ask = () => {
    const stepUp = useStepUp(prompt)
    confirm = stepUp.confirm
    cancel = stepUp.cancel
    return stepUp.isOpen ? `is it you? ${stepUp.need?.acr} ${stepUp.need?.maxAge}` : 'nothing to ask'
  }
  const root = await page.render(client, <Ask />)
  const shows = (what: string) => until(what, () => page.shown() === what)
  await request()
  await shows('is it you? aal2 300')
  await act(async () => cancel())
  await shows('nothing to ask')
  await request()
  await shows('is it you? aal2 300')
  await act(() => confirm({ password: 'x' }))
  await shows('nothing to ask')
  await until('the request was repeated', () => statuses.length === 3)
  t.strictSame(statuses, [401, 401, 200])

  page.requests.splice(0)
  await request()
  await shows('is it you? aal2 300')
  await act(async () => void client.logout())
  await shows('nothing to ask')
  await until('who signs out has declined', () => statuses.length === 4)

  await act(() => client.login(doctor))
  await request()
  await shows('is it you? aal2 300')
  await act(async () => root.unmount())
  await until('so has who leaves', () => statuses.length === 5)
  t.strictSame(statuses.slice(3), [401, 401])
})

t.test('the hook says what is missing', async (t) => {
  const page = await openPage(t)
  t.throws(() => renderToString(<Who />), /<AuthProvider client=\{client\}>/)
  t.equal(page.shown(), '')
})

t.test('a server renders what the browser then takes over', async (t) => {
  const page = await openPage(t)
  const client = page.createClient()
  await client.login(doctor)
  const app = (
    <AuthProvider client={client}>
      <ProtectedRoute loading="one moment">
        <Who />
      </ProtectedRoute>
    </AuthProvider>
  )
  page.container.innerHTML = renderToString(app)
  t.equal(page.shown(), 'one moment')
  const complaints: unknown[] = []
  await act(async () =>
    hydrateRoot(page.container, app, { onRecoverableError: (error) => void complaints.push(error) }),
  )
  t.equal(page.shown(), 'signed-in d@example.com doctor')
  t.strictSame(complaints, [])
})

t.test('without a router the page is loaded', async (t) => {
  const page = await openPage(t)
  const replaced: unknown[] = []
  t.intercept(page.window.location, 'replace', { value: (to: unknown) => replaced.push(to) })
  const root = createRoot(page.container)
  await act(async () =>
    root.render(
      <AuthProvider client={page.createClient()}>
        <ProtectedRoute>secret</ProtectedRoute>
      </AuthProvider>,
    ),
  )
  t.strictSame(replaced, ['/login'])
})

t.test('with react-router its own navigation is used, and the way back leads to the page', async (t) => {
  const page = await openPage(t, '/secret')
  const client = page.createClient()
  function Login() {
    const { login } = useAuth()
    const navigate = useNavigate()
    return (
      <button type="button" onClick={() => login(doctor).then(() => navigate(takeReturnPath(), { replace: true }))}>
        log in
      </button>
    )
  }
  function App() {
    const navigate = useNavigate()
    return (
      <AuthProvider client={client} navigate={(to) => navigate(to, { replace: true })}>
        <i>{useLocation().pathname}</i>
        <Routes>
          <Route path="/login" element={<Login />} />
          <Route path="/secret" element={<ProtectedRoute requireRole="doctor">secret</ProtectedRoute>} />
        </Routes>
      </AuthProvider>
    )
  }
  const root = createRoot(page.container)
  await act(async () =>
    root.render(
      <StrictMode>
        <MemoryRouter initialEntries={['/secret']}>
          <App />
        </MemoryRouter>
      </StrictMode>,
    ),
  )
  t.equal(page.shown(), '/loginlog in')
  await act(async () => page.container.querySelector('button')?.click())
  await until('the page is shown', () => page.shown() === '/secretsecret')
})
