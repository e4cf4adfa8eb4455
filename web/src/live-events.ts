import { useInfiniteQuery, useQuery, useQueryClient } from '@tanstack/react-query'
import { admin, type EventFilter, type SecurityEvent } from './admin.ts'

/** Milliseconds between two looks for new events. */
const every = 2_000

/** Milliseconds before the newest from which a look begins: what is committed late has an earlier time. */
const overlap = 10_000

/** So many new events are kept beside the list; then it begins anew. */
const mostNew = 500

/**
 * Events that match, page by page, and new ones as they come. They are asked for again and again, which needs no connection
 * of its own in auth, goes on by itself after an outage, and ends with the session as every request does.
 */
export function useLiveEvents(filter: EventFilter, isLive: boolean) {
  const queries = useQueryClient()
  const [listKey, newKey] = ['list', 'new'].map((part) => ['events', part, filter]) as [unknown[], unknown[]]
  const list = useInfiniteQuery({
    queryKey: listKey,
    queryFn: ({ pageParam }) => admin.events(filter, pageParam),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.nextCursor,
  })
  const listed = list.data?.pages.flatMap((page) => page.events)
  const { data: added = [], error } = useQuery({
    queryKey: newKey,
    queryFn: async () => {
      const before = queries.getQueryData<SecurityEvent[]>(newKey) ?? []
      const since = Math.max(
        Date.parse(filter.from ?? '1970-01-01'),
        Date.parse(events?.[0]?.at ?? '1970-01-01') - overlap,
      )
      const found = await admin.events({ ...filter, from: new Date(since).toISOString() }, null, 100)
      const all = merge(found.events, before)
      if (found.nextCursor === null && all.length < mostNew) return all
      // More than one look brings would leave a hole.
      await queries.invalidateQueries({ queryKey: listKey })
      return []
    },
    enabled: isLive && listed !== undefined,
    refetchInterval: every,
    retry: false,
    // What came while somebody looked would leave a hole when they look again.
    gcTime: 0,
  })
  const events = listed && merge(added, listed)
  return { ...list, events, isLost: isLive && error !== null }
}

/** Each event once, the newest first. */
function merge(one: SecurityEvent[], other: SecurityEvent[]): SecurityEvent[] {
  const byId = new Map([...one, ...other].map((event) => [event.id, event]))
  return [...byId.values()].sort((a, b) => b.at.localeCompare(a.at) || Number(b.id) - Number(a.id))
}
