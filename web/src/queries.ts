import type { AuthError } from '@sallyport/client'
import { QueryClient } from '@tanstack/react-query'
import { client } from './client.ts'

/** What the server did not answer is asked again a few times; what it refused is not. */
const retry = (failures: number, { status }: AuthError) => failures < 3 && (status === 0 || status >= 500)

export const queries = new QueryClient({
  defaultOptions: {
    queries: { retry: retry as (failures: number, error: Error) => boolean, staleTime: 10_000 },
    mutations: { networkMode: 'always' },
  },
})

// What one person saw is not for the next.
let seenBy = client.getSnapshot().user?.id
client.subscribe(() => {
  const { user } = client.getSnapshot()
  if (user?.id === seenBy) return
  seenBy = user?.id
  queries.clear()
})
