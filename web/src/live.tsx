import { useQueryClient } from '@tanstack/react-query'
import { createContext, type ReactNode, useContext, useEffect, useState } from 'react'
import type { Appointment } from './api.ts'
import { account, client, hasSamples, webSocketAddress } from './client.ts'
import { useToast } from './parts/toasts.tsx'
import { formatMoment } from './times.ts'

export interface Change {
  /** When it came, in milliseconds. */
  at: number
  change: 'created' | 'changed'
  appointment: Appointment
}

interface Live {
  status: 'connecting' | 'live' | 'waiting'
  /** The last ones, the newest first. */
  changes: Change[]
}

const LiveContext = createContext<Live>({ status: 'connecting', changes: [] })

/** Changes of appointments that concern this user, as they happen. */
export const useLive = () => useContext(LiveContext)

const kept = 20

/** Keeps a WebSocket to the notifications open, and what they change up to date. */
export function LiveProvider({ children }: { children: ReactNode }) {
  const queries = useQueryClient()
  const tell = useToast()
  const [live, setLive] = useState<Live>({ status: 'connecting', changes: [] })

  useEffect(
    () =>
      hasSamples
        ? follow({
            onStatus: (status) => setLive((before) => ({ ...before, status })),
            // Something may have happened while nobody listened.
            onOpen: () => queries.invalidateQueries({ queryKey: ['appointments'] }),
            onChange: (change) => {
              setLive((before) => ({ ...before, changes: [change, ...before.changes].slice(0, kept) }))
              queries.invalidateQueries({ queryKey: ['appointments'] })
              tell(
                `Appointment ${change.change}: ${change.appointment.reason}, ${formatMoment(change.appointment.startsAt)}`,
              )
            },
          })
        : undefined,
    [queries, tell],
  )
  return <LiveContext value={live}>{children}</LiveContext>
}

interface Listener {
  onStatus(status: Live['status']): void
  onOpen(): void
  onChange(change: Change): void
}

/** @returns a function that ends it */
function follow({ onStatus, onOpen, onChange }: Listener): () => void {
  let ended = false
  let failures = 0
  let socket: WebSocket | undefined
  let timer: ReturnType<typeof setTimeout> | undefined
  const connectNow = () => {
    clearTimeout(timer)
    void connect()
  }

  async function connect(): Promise<void> {
    timer = undefined
    try {
      // A WebSocket that is rejected does not say why; a request does, and refreshes the token or ends the session.
      await account.getAccount()
      const token = await client.getFreshAccessToken()
      if (ended || token === null) return
      // A browser sends no headers with a WebSocket, so the token goes as a subprotocol beside our own.
      socket = new WebSocket(webSocketAddress('/api/notifications/ws'), ['sallyport.demo', `sallyport.bearer.${token}`])
    } catch {
      return wait()
    }
    socket.onopen = () => {
      failures = 0
      onStatus('live')
      onOpen()
    }
    socket.onmessage = ({ data }) => {
      const { type, ...message } = JSON.parse(data)
      if (type === 'appointment') onChange({ at: Date.now(), ...message })
    }
    socket.onclose = ({ code }) => {
      socket = undefined
      if (ended) return
      // The gateway says that the token is no longer valid: it expired, or the roles or the session changed.
      if (code === 4401) return connectNow()
      wait()
    }
  }

  function wait(): void {
    if (ended) return
    onStatus('waiting')
    timer = setTimeout(connect, Math.min(30_000, 500 * 2 ** failures) * (0.75 + Math.random() / 2))
    failures += 1
  }

  const hurry = () => {
    if (timer !== undefined) connectNow()
  }
  // Signs that what was unavailable is back.
  const signs = ['online', 'tokenRefreshed']
  for (const sign of signs) addEventListener(sign, hurry)
  void connect()
  return () => {
    ended = true
    clearTimeout(timer)
    for (const sign of signs) removeEventListener(sign, hurry)
    socket?.close()
  }
}
