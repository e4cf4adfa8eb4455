import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { type ReactNode, useState } from 'react'
import { Link, useLocation } from 'wouter'
import { Chips } from '../parts/chips.tsx'
import { Confirm } from '../parts/confirm.tsx'
import { PageState } from '../parts/page-state.tsx'
import { Empty, Failure, Loading, Notice } from '../parts/states.tsx'
import { useToast } from '../parts/toasts.tsx'
import { ReplayDialog } from '../replay-dialog.tsx'
import { formatMoment } from '../times.ts'
import { SecretDialog, WebhookDialog } from '../webhook-dialog.tsx'
import { type Delivery, type Tested, type WebhookDetails, webhooks } from '../webhooks.ts'

type Asked = 'change' | 'disable' | 'delete' | 'rotate' | 'replay'

/** Milliseconds after which what becomes of deliveries is asked for again. */
const every = 5_000

/** One webhook, for admins. */
export function WebhookPage({ id }: { id: string }) {
  const [asked, setAsked] = useState<Asked>()
  const [secret, setSecret] = useState<string>()
  const {
    data: webhook,
    error,
    refetch,
  } = useQuery({
    queryKey: ['webhooks', id],
    queryFn: () => webhooks.get(id),
    refetchInterval: every,
  })
  const enabling = useChange(id, () => webhooks.change(id, { enabled: true }), 'It is enabled.')
  if (!webhook) return <PageState error={error} onRetry={() => void refetch()} unknown={unknown} />
  const close = () => setAsked(undefined)
  return (
    <>
      <header className="page-head">
        <div>
          <p className="eyebrow">
            <Link href="/admin/webhooks">Webhooks</Link>
          </p>
          <h1>{webhook.name}</h1>
        </div>
        <div className="buttons">
          <button type="button" onClick={() => setAsked('change')}>
            Change
          </button>
          {webhook.enabled ? (
            <button type="button" onClick={() => setAsked('disable')}>
              Disable
            </button>
          ) : (
            <button type="button" disabled={enabling.isPending} onClick={() => enabling.mutate()}>
              Enable
            </button>
          )}
          <button type="button" className="danger" onClick={() => setAsked('delete')}>
            Delete
          </button>
        </div>
      </header>
      {enabling.error && <Failure error={enabling.error} />}
      <Trouble webhook={webhook} />
      <div className="sections">
        <Details webhook={webhook} onRotate={() => setAsked('rotate')} />
        <Deliveries id={id} onReplay={() => setAsked('replay')} />
      </div>
      {asked === 'change' && <WebhookDialog webhook={webhook} onClose={close} />}
      {asked === 'disable' && <DisableDialog webhook={webhook} onClose={close} />}
      {asked === 'delete' && <DeleteDialog webhook={webhook} onClose={close} />}
      {asked === 'rotate' && <RotateDialog webhook={webhook} onMade={setSecret} onClose={close} />}
      {asked === 'replay' && <ReplayDialog id={id} onClose={close} />}
      {secret && <SecretDialog secret={secret} onSaved={() => setSecret(undefined)} />}
    </>
  )
}

/** Also of what is no id. */
const unknown = {
  title: 'There is no such webhook',
  code: 'WEBHOOK_NOT_FOUND',
  back: { href: '/admin/webhooks', label: 'To the webhooks' },
}

function Trouble({ webhook: { enabled, disabledReason, failingSince } }: { webhook: WebhookDetails }) {
  if (disabledReason === 'gone')
    return <Notice tone="warn">It was disabled: its receiver said that it wants no more (410).</Notice>
  if (disabledReason === 'failing')
    return <Notice tone="warn">It was disabled: every delivery had failed for three days. What is queued waits.</Notice>
  if (!enabled) return <Notice tone="info">It is disabled: nothing is queued for it, and what is queued waits.</Notice>
  if (failingSince)
    return <Notice tone="warn">Deliveries have failed since {formatMoment(failingSince)}. They are tried again.</Notice>
  return null
}

interface DetailsProps {
  webhook: WebhookDetails
  onRotate(): void
}

function Details({ webhook, onRotate }: DetailsProps) {
  const { id, url, events, createdAt, secrets, waiting, dead } = webhook
  const test = useMutation({ mutationFn: () => webhooks.test(id) })
  const [latest, earlier] = secrets
  return (
    <section className="card webhook">
      <header>
        <h2>Webhook</h2>
        <button type="button" className="small" disabled={test.isPending} onClick={() => test.mutate()}>
          {test.isPending ? 'Sending…' : 'Send a test'}
        </button>
      </header>
      {test.error && <Failure error={test.error} />}
      {test.data && <TestResult tested={test.data} />}
      <dl className="details">
        <Detail name="Address">
          <code className="anywhere">{url}</code>
        </Detail>
        <Detail name="Events">
          <Chips words={events} />
        </Detail>
        <Detail
          name="Secret"
          action={
            <button type="button" className="small" onClick={onRotate}>
              Make a new secret
            </button>
          }
        >
          {latest && `Made ${formatMoment(latest.createdAt)}`}
          {earlier?.expiresAt && `. The one before it signs too, until ${formatMoment(earlier.expiresAt)}`}
        </Detail>
        <Detail name="Waiting">{waiting}</Detail>
        <Detail name="Given up">{dead}</Detail>
        <Detail name="Made">{formatMoment(createdAt)}</Detail>
      </dl>
    </section>
  )
}

function TestResult({ tested: { delivered, status, error, durationMs } }: { tested: Tested }) {
  return (
    <Notice tone={delivered ? 'info' : 'bad'}>
      {status === null ? `Not delivered: ${explainError(error)}` : `The receiver responded with ${status}`} (
      {durationMs} ms).
    </Notice>
  )
}

function Detail({ name, action, children }: { name: string; action?: ReactNode; children: ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
      {action && <dd>{action}</dd>}
    </div>
  )
}

const states = { pending: 'Waiting', delivered: 'Delivered', dead: 'Given up' }

function Deliveries({ id, onReplay }: { id: string; onReplay: () => void }) {
  const [state, setState] = useState('')
  const { data, error, hasNextPage, isFetchingNextPage, fetchNextPage, refetch } = useInfiniteQuery({
    queryKey: ['webhooks', id, 'deliveries', state],
    queryFn: ({ pageParam }) => webhooks.deliveries(id, state, pageParam),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.nextCursor,
    refetchInterval: every,
  })
  const list = data?.pages.flatMap((page) => page.deliveries)
  return (
    <section className="card deliveries">
      <header>
        <h2>Deliveries</h2>
        <div className="buttons">
          <select className="small" aria-label="Which" value={state} onChange={({ target }) => setState(target.value)}>
            <option value="">All</option>
            {Object.entries(states).map(([value, name]) => (
              <option key={value} value={value}>
                {name}
              </option>
            ))}
          </select>
          <button type="button" className="small" onClick={onReplay}>
            Replay a span
          </button>
        </div>
      </header>
      {error && !list ? (
        <Failure error={error} onRetry={() => void refetch()} />
      ) : !list ? (
        <Loading rows={3} />
      ) : list.length === 0 ? (
        <Empty title="None">
          <p>They are shown for 30 days.</p>
        </Empty>
      ) : (
        <ul>
          {list.map((delivery) => (
            <DeliveryRow key={delivery.id} webhook={id} delivery={delivery} />
          ))}
        </ul>
      )}
      {hasNextPage && (
        <button type="button" className="more" disabled={isFetchingNextPage} onClick={() => void fetchNextPage()}>
          {isFetchingNextPage ? 'Loading…' : 'Show more'}
        </button>
      )}
    </section>
  )
}

function DeliveryRow({ webhook, delivery }: { webhook: string; delivery: Delivery }) {
  const { id, event, type, at, state, attempts, nextAt, status, error } = delivery
  const replay = useChange(webhook, () => webhooks.replay(webhook, id), 'It is sent once more.')
  return (
    <li className="row">
      <div className="row-main">
        <strong>{type}</strong>
        <span>
          {formatMoment(at)}, <code className="anywhere">{event}</code>
        </span>
        {attempts > 0 && (
          <span>
            Failed {attempts === 1 ? 'once' : `${attempts} times`}
            {error && `: ${status === null ? explainError(error) : `it responded with ${status}`}`}
            {nextAt && `. Next attempt: ${formatMoment(nextAt)}`}
          </span>
        )}
        {replay.error && <span className="bad">{(replay.error as Error).message}</span>}
      </div>
      <span className="chip">{states[state]}</span>
      {state !== 'pending' && (
        <button
          type="button"
          className="small"
          aria-label={`Replay ${type} ${event}`}
          disabled={replay.isPending}
          onClick={() => replay.mutate()}
        >
          Replay
        </button>
      )}
    </li>
  )
}

/** What the auth service says of a response that did not come. */
function explainError(error: string | null): string {
  switch (error) {
    case 'TIMEOUT':
      return 'it did not respond in time'
    case 'ECONNREFUSED':
      return 'nobody listens at its address'
    case 'ENOTFOUND':
      return 'its name is not known'
    case 'SECRET_UNREADABLE':
      return 'its secret cannot be read: make a new one'
    default:
      return String(error)
  }
}

/** What is the same about everything that changes something. */
function useChange<Result>(id: string, change: () => Promise<Result>, done: string, onDone?: (result: Result) => void) {
  const queries = useQueryClient()
  const tell = useToast()
  return useMutation({
    mutationFn: change,
    onSuccess: async (result) => {
      tell(done)
      onDone?.(result)
      await queries.invalidateQueries({ queryKey: ['webhooks', id] })
    },
  })
}

interface DialogProps {
  webhook: WebhookDetails
  onClose(): void
}

function DisableDialog({ webhook: { id, name }, onClose }: DialogProps) {
  const disable = () => webhooks.change(id, { enabled: false })
  const { mutate, ...state } = useChange(id, disable, `${name} is disabled.`, onClose)
  return (
    <Confirm
      title={`Disable ${name}?`}
      label="Disable"
      {...stateOf(state)}
      onConfirm={() => mutate()}
      onClose={onClose}
    >
      Nothing that happens meanwhile is queued for it, and it is not notified of it later. What is queued already waits.
    </Confirm>
  )
}

function RotateDialog({ webhook: { id }, onMade, onClose }: DialogProps & { onMade(secret: string): void }) {
  const { mutate, ...state } = useChange(
    id,
    () => webhooks.makeSecret(id),
    'There is a new secret.',
    ({ secret }) => {
      onClose()
      onMade(secret)
    },
  )
  return (
    <Confirm title="Make a new secret?" label="Make" {...stateOf(state)} onConfirm={() => mutate()} onClose={onClose}>
      The one that there is signs too, for 24 hours: time enough to give the receiver the new one. One from before that
      signs no more.
    </Confirm>
  )
}

function DeleteDialog({ webhook: { id, name, waiting }, onClose }: DialogProps) {
  const [, navigate] = useLocation()
  const queries = useQueryClient()
  const tell = useToast()
  const { mutate, ...state } = useMutation({
    mutationFn: () => webhooks.remove(id),
    onSuccess: () => {
      tell(`${name} is deleted.`)
      navigate('/admin/webhooks')
      queries.removeQueries({ queryKey: ['webhooks'] })
    },
  })
  return (
    <Confirm title={`Delete ${name}?`} label="Delete" {...stateOf(state)} onConfirm={() => mutate()} onClose={onClose}>
      {waiting > 0 &&
        `${waiting === 1 ? 'One delivery that waits is' : `${waiting} deliveries that wait are`} not made. `}
      What was delivered cannot be looked at any more. This cannot be taken back.
    </Confirm>
  )
}

const stateOf = ({ isPending, error }: { isPending: boolean; error: unknown }) => ({ isPending, error })
