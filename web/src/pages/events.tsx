import { useMutation } from '@tanstack/react-query'
import { useState } from 'react'
import { useSearchParams } from 'wouter'
import { admin, type EventFilter } from '../admin.ts'
import { EventFilters } from '../event-filters.tsx'
import { useLiveEvents } from '../live-events.ts'
import { EventList } from '../parts/event-list.tsx'
import { DownloadIcon } from '../parts/icons.tsx'
import { MoreButton } from '../parts/more-button.tsx'
import { saveFile } from '../parts/save-file.ts'
import { Empty, Failure, Loading } from '../parts/states.tsx'

const names = ['user', 'client', 'event', 'from', 'to'] as const

/** Security events of everybody, for admins. The filter is in the address, so that it can be passed on. */
export function EventsPage() {
  const [params, setParams] = useSearchParams()
  const filter: EventFilter = Object.fromEntries(
    names.flatMap((name) => (params.get(name) ? [[name, params.get(name)]] : [])),
  )
  const change = (changes: EventFilter) =>
    setParams(Object.entries({ ...filter, ...changes }).filter(([, value]) => value) as [string, string][], {
      replace: true,
    })
  const [isPaused, setPaused] = useState(false)
  // Nothing new can come before a time that is over.
  const isOver = filter.to !== undefined && Date.parse(filter.to) < Date.now()
  const isLive = !isPaused && !isOver
  const { events, error, isLost, refetch, ...pages } = useLiveEvents(filter, isLive)
  return (
    <>
      <header className="page-head">
        <div>
          <h1>Events</h1>
          <p>What happened to accounts and sessions</p>
        </div>
        <Download filter={filter} />
      </header>
      <EventFilters filter={filter} onChange={change} onClear={() => setParams({}, { replace: true })} />
      <section className="card events">
        <header>
          <h2>Newest first</h2>
          <div className="buttons">
            <span className={`pulse ${isLive && !isLost ? 'live' : ''}`} role="status">
              {isOver ? 'That time is over' : isPaused ? 'Paused' : isLost ? 'Trying again' : 'Live'}
            </span>
            {!isOver && (
              <button type="button" className="small" onClick={() => setPaused(!isPaused)}>
                {isPaused ? 'Go on' : 'Pause'}
              </button>
            )}
          </div>
        </header>
        {error && !events ? (
          <Failure error={error} onRetry={() => void refetch()} />
        ) : !events ? (
          <Loading rows={5} />
        ) : events.length === 0 ? (
          <Empty title="Nothing like that">{isLive && <p>What happens from now on appears here by itself.</p>}</Empty>
        ) : (
          <EventList events={events} hasSubjects />
        )}
        <MoreButton {...pages} />
      </section>
    </>
  )
}

/** Everything that matches, as a file with a line of JSON for each. */
function Download({ filter }: { filter: EventFilter }) {
  const { mutate, isPending, error } = useMutation({
    mutationFn: () => admin.exportEvents(filter),
    onSuccess: (lines) => saveFile('events.ndjson', 'application/x-ndjson', lines),
  })
  return (
    <div className="buttons">
      <button type="button" disabled={isPending} onClick={() => mutate()}>
        <DownloadIcon />
        {isPending ? 'Collecting…' : 'Download'}
      </button>
      {error && <Failure error={error} />}
    </div>
  )
}
