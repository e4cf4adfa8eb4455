import { readAccessToken } from './access-token.ts'
import { AuthError, errorOf } from './auth-error.ts'
import { urlOf } from './base-url.ts'
import type { AuthClient } from './client.ts'
import { createClock } from './clock.ts'
import { fixable } from './fetch.ts'
import type { ActingEnd, AuthSnapshot } from './snapshot.ts'
import type { SignOut, User } from './store.ts'

/** What `POST /api/admin/users/:id/impersonate` answers: for a while, calls may be made as this user. */
export interface Impersonation {
  accessToken: string
  /** In seconds. */
  expiresIn: number
  /** The main role first. */
  user: User & { roles: readonly string[] }
}

export interface Acting {
  /**
   * From now on this tab calls as another user. Nothing of that is stored: a reload ends it, and other tabs know nothing
   * of it.
   *
   * @throws AuthError `ANSWER_INVALID` if the token is not one by which the signed-in user acts
   */
  actAs(impersonation: Impersonation): void
  /**
   * The tab is the signed-in user's own again, before it returns. Also takes away `actingEnd`, once the user was told. The
   * promise is for those who want to wait until the server was notified; it never rejects, and what fails ends by itself.
   */
  stopActing(): Promise<void>
}

export type ActingClient = AuthClient & Acting

/** As the monitor looks: a timer for the moment itself would be late after a sleep. */
const interval = 1_000

/**
 * A client that can act for another user. What concerns the session (`login`, `logout`, `refresh`, `stepUp`) stays the
 * signed-in user's own; calls, and what the snapshot says, are the other one's for as long as it lasts. It ends when the
 * token expires or is rejected, and when somebody else, or nobody, is signed in. There is no other token then, and a
 * call is never made again as oneself.
 */
export function withImpersonation(client: AuthClient): ActingClient {
  const { origin } = new URL(client.baseUrl)
  const clock = createClock()
  const listeners = new Set<() => void>()
  let acting: (Impersonation & { expiresAt: number }) | undefined
  /** Who acts, or did, until another user is signed in or nobody. */
  let actor: User | null = null
  let ended: ActingEnd | null = null
  let timer: ReturnType<typeof setInterval> | undefined
  let snapshot = take()

  client.subscribe(() => {
    // What one user did is not for the next.
    if (client.getSnapshot().user?.id !== actor?.id) stop()
    change()
  })

  return {
    ...client,

    actAs(impersonation) {
      const { user } = client.getSnapshot()
      if (!user || readAccessToken(impersonation.accessToken)?.act?.sub !== user.id)
        throw new AuthError('ANSWER_INVALID', 'This is no token by which the signed-in user acts')
      stop()
      actor = user
      acting = { ...impersonation, expiresAt: clock.now() + impersonation.expiresIn * 1_000 }
      timer = setInterval(look, interval)
      change()
    },

    async stopActing() {
      const mine = acting
      stop()
      change()
      const ends = { method: 'DELETE', keepalive: true }
      if (mine) await send(mine, `${client.baseUrl}/api/auth/impersonation`, ends).catch(() => {})
    },

    async fetch(input, init = {}) {
      const mine = current()
      const headers = new Headers(init.headers ?? (input instanceof Request ? input.headers : undefined))
      if (!mine || urlOf(client.baseUrl, input).origin !== origin || headers.has('authorization'))
        return client.fetch(input, init)
      const response = await send(mine, input, { ...init, headers })
      if (response.status === 401 && acting === mine) {
        const { code, reason } = await errorOf(response.clone())
        if (fixable.includes(code) && acting === mine) end(mine.user, { code, ...(reason !== undefined && { reason }) })
      }
      return response
    },

    getAccessToken: () => acting?.accessToken ?? client.getAccessToken(),
    getFreshAccessToken: async () => current()?.accessToken ?? client.getFreshAccessToken(),
    getRole: () => (acting ? snapshot.role : client.getRole()),
    getSnapshot: () => snapshot,
    subscribe(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
  }

  /** Without the cookie, which is the actor's own: no response may take it away or change it. */
  function send({ accessToken }: Impersonation, input: Parameters<typeof fetch>[0], init: RequestInit) {
    const headers = new Headers(init.headers)
    headers.set('authorization', `Bearer ${accessToken}`)
    return client.fetch(input, { ...init, headers, credentials: 'omit' })
  }

  /** What is asked for as somebody else is not done as oneself: a call that comes too late is rejected. */
  function current() {
    const before = acting
    look()
    if (before && !acting) throw new AuthError('TOKEN_EXPIRED', 'Acting for somebody else has ended', { status: 401 })
    return acting
  }

  function look(): void {
    if (acting && acting.expiresAt <= clock.now()) end(acting.user, { code: 'TOKEN_EXPIRED' })
  }

  function end(user: User, why: SignOut): void {
    const { id, email, name } = user
    stop()
    ended = { ...why, user: { id, email, name } }
    change()
  }

  function stop(): void {
    clearInterval(timer)
    acting = undefined
    ended = null
  }

  function change(): void {
    snapshot = take()
    for (const listener of listeners) listener()
  }

  function take(): AuthSnapshot {
    const own = client.getSnapshot()
    if (!acting) return { ...own, actor: null, actingEnd: ended }
    const { user, expiresAt } = acting
    const { id, email, name, roles } = user
    return {
      ...own,
      user: { id, email, name },
      role: roles[0] ?? null,
      roles,
      expiresAt: clock.toMachine(expiresAt),
      refreshAt: null,
      actor,
      actingEnd: null,
    }
  }
}
