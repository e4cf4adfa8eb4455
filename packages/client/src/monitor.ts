import type { Logout } from './logout.ts'
import type { Channel, Platform } from './platform.ts'
import type { Refresh } from './refresh.ts'
import type { Snapshots } from './snapshot.ts'
import type { Shared, Store } from './store.ts'

interface Parts {
  store: Store
  refresh: Refresh
  logout: Logout
  snapshots: Snapshots
  platform: Platform
}

const interval = 1_000

/**
 * Looks every second, and when the page wakes up, whether something is due: that needs no timer that a sleeping machine
 * would miss, and also sees what other code does to storage. Joins the tabs meanwhile.
 */
export function createMonitor({ store, refresh, logout, snapshots, platform }: Parts) {
  const { window, BroadcastChannel } = platform
  let timer: ReturnType<typeof setInterval> | undefined
  let channel: Channel | undefined

  const reactions = [
    ['focus', look],
    ['visibilitychange', look],
    ['online', lookAnew],
    // No more than that: while storage changes, another tab is at work.
    ['storage', store.sync],
  ] as const

  store.subscribe((_before, origin) => {
    const { session, trouble } = store
    if (origin === 'this tab') channel?.postMessage({ session, trouble })
  })

  return {
    start(): void {
      if (timer) return
      timer = setInterval(look, interval)
      channel = BroadcastChannel && new BroadcastChannel('sallyport')
      if (channel) channel.onmessage = ({ data }) => store.take(data as Shared)
      for (const [name, react] of reactions) window?.addEventListener(name, react)
      look()
    },

    stop(): void {
      clearInterval(timer)
      timer = undefined
      channel?.close()
      channel = undefined
      for (const [name, react] of reactions) window?.removeEventListener(name, react)
    },
  }

  function look(): void {
    store.sync()
    const { refreshAt } = snapshots.get()
    // What fails is reported to the store.
    if (refreshAt !== null && refreshAt <= Date.now()) refresh().catch(() => {})
    if (logout.isDue) void logout.finish()
  }

  /** With a network again there is nothing to wait for. */
  function lookAnew(): void {
    if (store.trouble) store.report({ ...store.trouble, failures: 0, retryAt: 0 })
    logout.hurry()
    look()
  }
}
