import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { Link, useLocation } from 'wouter'
import { PlusIcon, WebhookIcon } from '../parts/icons.tsx'
import { Empty, Failure, Loading } from '../parts/states.tsx'
import { formatAgo, formatDate } from '../times.ts'
import { SecretDialog, WebhookDialog } from '../webhook-dialog.tsx'
import { type Webhook, webhooks } from '../webhooks.ts'

/** Where others are notified of what happens, for admins. */
export function WebhooksPage() {
  const [isMaking, setMaking] = useState(false)
  const [made, setMade] = useState<Webhook & { secret: string }>()
  const [, navigate] = useLocation()
  const { data, error, refetch } = useQuery({ queryKey: ['webhooks', 'list'], queryFn: webhooks.list })
  return (
    <>
      <header className="page-head">
        <div>
          <h1>Webhooks</h1>
          <p>Other systems that are notified of what happens here</p>
        </div>
        <button type="button" className="primary" onClick={() => setMaking(true)}>
          <PlusIcon />
          Make one
        </button>
      </header>
      {error && !data ? (
        <Failure error={error} onRetry={() => void refetch()} />
      ) : !data ? (
        <Loading rows={3} />
      ) : data.webhooks.length === 0 ? (
        <Empty title="There is none yet">
          <p>Another system is notified as soon as a user is created, a session ends, a login fails.</p>
        </Empty>
      ) : (
        <ul className="card rows">
          {data.webhooks.map((webhook) => (
            <WebhookRow key={webhook.id} webhook={webhook} />
          ))}
        </ul>
      )}
      {isMaking && <WebhookDialog onMade={setMade} onClose={() => setMaking(false)} />}
      {made && <SecretDialog secret={made.secret} onSaved={() => navigate(`/admin/webhooks/${made.id}`)} />}
    </>
  )
}

function WebhookRow({ webhook: { id, name, url, events, enabled, failingSince, createdAt } }: { webhook: Webhook }) {
  return (
    <li className={`row${enabled ? '' : ' faded'}`}>
      <span className="device">
        <WebhookIcon />
      </span>
      <div className="row-main">
        <strong>
          <Link href={`/admin/webhooks/${id}`}>{name}</Link>
        </strong>
        <span className="ellipsis">{url}</span>
        <span>
          {events.length === 1 ? events[0] : `${events.length} kinds of events`}, made {formatDate(createdAt)}
        </span>
      </div>
      <span className="chip">
        {!enabled ? 'Disabled' : failingSince ? `Failing since ${formatAgo(failingSince)}` : 'Enabled'}
      </span>
    </li>
  )
}
