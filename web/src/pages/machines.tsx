import { useInfiniteQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { Link } from 'wouter'
import { MachineDialog } from '../machine-dialog.tsx'
import { type Machine, machines } from '../machines.ts'
import { Chips } from '../parts/chips.tsx'
import { MachineIcon, PlusIcon } from '../parts/icons.tsx'
import { Empty, Failure, Loading } from '../parts/states.tsx'
import { formatAgo, formatDate } from '../times.ts'

/** The service accounts, for admins. */
export function MachinesPage() {
  const [isMaking, setMaking] = useState(false)
  const { data, error, hasNextPage, isFetchingNextPage, fetchNextPage, refetch } = useInfiniteQuery({
    queryKey: ['machines', 'list'],
    queryFn: ({ pageParam }) => machines.list(pageParam),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.nextCursor,
  })
  const list = data?.pages.flatMap((page) => page.clients)
  return (
    <>
      <header className="page-head">
        <div>
          <h1>Machines</h1>
          <p>Service accounts: programs that call the API as themselves</p>
        </div>
        <button type="button" className="primary" onClick={() => setMaking(true)}>
          <PlusIcon />
          Make one
        </button>
      </header>
      {error && !list ? (
        <Failure error={error} onRetry={() => void refetch()} />
      ) : !list ? (
        <Loading rows={4} />
      ) : list.length === 0 ? (
        <Empty title="There is none yet">
          <p>A program gets its own account, with no more rights than it needs.</p>
        </Empty>
      ) : (
        <ul className="card rows">
          {list.map((machine) => (
            <MachineRow key={machine.id} machine={machine} />
          ))}
        </ul>
      )}
      {hasNextPage && (
        <button type="button" className="more" disabled={isFetchingNextPage} onClick={() => void fetchNextPage()}>
          {isFetchingNextPage ? 'Loading…' : 'Show more'}
        </button>
      )}
      {isMaking && <MachineDialog onClose={() => setMaking(false)} />}
    </>
  )
}

function MachineRow({ machine: { id, name, roles, scopes, createdAt, lastUsedAt } }: { machine: Machine }) {
  return (
    <li className="row machine">
      <span className="device">
        <MachineIcon />
      </span>
      <div className="row-main">
        <strong>
          <Link href={`/admin/machines/${id}`}>{name}</Link>
        </strong>
        <span className="ellipsis">{scopes.length > 0 ? scopes.join(' ') : 'No scopes'}</span>
        <span>
          Made {formatDate(createdAt)}, {lastUsedAt ? `last used ${formatAgo(lastUsedAt)}` : 'never used'}
        </span>
      </div>
      <Chips words={roles} />
    </li>
  )
}
