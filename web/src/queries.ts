import type { AuthError } from '@sallyport/client'
import { QueryClient } from '@tanstack/react-query'
import { client } from './client.ts'

/** A request without a response, or with a 5xx, is retried a few times; a rejected one is not. */
const retry = (failures: number, { status }: AuthError) => failures < 3 && (status === 0 || status >= 500)

/**
 * What is shown is fetched anew wherever it appears, and no time says how long it holds: the library compares times at
 * each render, so that under a clock that jumps it would render without end.
 */
const refetch = {
  staleTime: Number.POSITIVE_INFINITY,
  refetchOnMount: 'always',
  refetchOnWindowFocus: 'always',
  refetchOnReconnect: 'always',
} as const

export const queries = new QueryClient({
  defaultOptions: {
    queries: { retry: retry as (failures: number, error: Error) => boolean, ...refetch },
    mutations: { networkMode: 'always' },
  },
})

// What one user saw is not for the next.
let seenBy = client.getSnapshot().user?.id
client.subscribe(() => {
  const { user } = client.getSnapshot()
  if (user?.id === seenBy) return
  seenBy = user?.id
  queries.clear()
})
