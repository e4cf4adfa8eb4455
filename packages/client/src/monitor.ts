import type { Clock } from './clock.ts'
import type { Logout } from './logout.ts'
import { attempt, openChannel, type Platform } from './platform.ts'
import type { Refresh } from './refresh.ts'
import type { Snapshots } from './snapshot.ts'
import type { Store } from './store.ts'

interface Parts {
  store: Store
  refresh: Refresh
  logout: Logout
  snapshots: Snapshots
  platform: Platform
  clock: Clock
}

const interval = 1_000

/**
 * Looks every second, and when the page wakes up, whether something is due: that needs no timer that a sleeping machine
 * would miss, and also sees what other code does to storage. Joins the tabs meanwhile.
 */
export function createMonitor({ store, refresh, logout, snapshots, platform, clock }: Parts) {
  const { window } = platform
  let timer: ReturnType<typeof setInterval> | undefined
  let channel: ReturnType<typeof openChannel>

  const reactions = [
    ['focus', look],
    ['visibilitychange', look],
    ['online', lookAnew],
    // No more than that: while storage changes, another tab is at work.
    ['storage', store.sync],
  ] as const

  store.subscribe((_before, origin) => {
    if (origin === 'this tab') channel?.postMessage(store.shared)
  })

  return {
    start(): void {
      if (timer) return
      timer = setInterval(look, interval)
      channel = openChannel(platform, store.take)
      for (const [name, react] of reactions) attempt(() => window?.addEventListener(name, react))
      look()
    },

    stop(): void {
      clearInterval(timer)
      timer = undefined
      channel?.close()
      channel = undefined
      for (const [name, react] of reactions) attempt(() => window?.removeEventListener(name, react))
    },
  }

  function look(): void {
    store.correct()
    store.sync()
    const { refreshAt } = snapshots.get()
    // What fails is reported to the store.
    if (refreshAt !== null && clock.fromMachine(refreshAt) <= clock.now()) refresh().catch(() => {})
    if (logout.isDue) void logout.finish()
  }

  /** With a network again there is nothing to wait for. */
  function lookAnew(): void {
    if (store.trouble) store.report({ ...store.trouble, failures: 0, retryAt: 0 })
    logout.hurry()
    look()
  }
}
