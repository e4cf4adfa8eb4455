import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { type ReactNode, useState } from 'react'
import { Link, useLocation } from 'wouter'
import { CredentialDialog, kinds, MadeDialog } from '../credential-dialog.tsx'
import { ExchangeDialog } from '../exchange-dialog.tsx'
import { MachineDialog } from '../machine-dialog.tsx'
import { type Credential, type Exchange, type MachineDetails, type MadeCredential, machines } from '../machines.ts'
import { Chips } from '../parts/chips.tsx'
import { Confirm } from '../parts/confirm.tsx'
import { CopyButton } from '../parts/copy-button.tsx'
import { PageState } from '../parts/page-state.tsx'
import { Empty } from '../parts/states.tsx'
import { useToast } from '../parts/toasts.tsx'
import { formatAgo, formatDate, formatMoment } from '../times.ts'

type Asked =
  | { what: 'change' | 'delete' | 'credential' | 'exchange' }
  | { what: 'revoke'; credential: Credential }
  | { what: 'remove'; exchange: Exchange }

/** One service account, for admins. */
export function MachinePage({ id }: { id: string }) {
  const [asked, setAsked] = useState<Asked>()
  const [made, setMade] = useState<MadeCredential>()
  const { data: machine, error, refetch } = useQuery({ queryKey: ['machines', id], queryFn: () => machines.get(id) })
  if (!machine) return <PageState error={error} onRetry={() => void refetch()} unknown={unknown} />
  const close = () => setAsked(undefined)
  return (
    <>
      <header className="page-head">
        <div>
          <p className="eyebrow">
            <Link href="/admin/machines">Machines</Link>
          </p>
          <h1>{machine.name}</h1>
        </div>
        <div className="buttons">
          <Link className="button" href={`/admin/events?client=${id}`}>
            Events
          </Link>
          <button type="button" onClick={() => setAsked({ what: 'change' })}>
            Change
          </button>
          <button type="button" className="danger" onClick={() => setAsked({ what: 'delete' })}>
            Delete
          </button>
        </div>
      </header>
      <div className="sections">
        <Details machine={machine} />
        <Credentials
          credentials={machine.credentials}
          onAdd={() => setAsked({ what: 'credential' })}
          onRevoke={(credential) => setAsked({ what: 'revoke', credential })}
        />
        <Exchanges
          exchanges={machine.exchanges}
          onAdd={() => setAsked({ what: 'exchange' })}
          onRemove={(exchange) => setAsked({ what: 'remove', exchange })}
        />
      </div>
      {asked?.what === 'change' && <MachineDialog machine={machine} onClose={close} />}
      {asked?.what === 'delete' && <DeleteDialog machine={machine} onClose={close} />}
      {asked?.what === 'credential' && <CredentialDialog machine={machine} onMade={setMade} onClose={close} />}
      {asked?.what === 'revoke' && <RevokeDialog id={id} credential={asked.credential} onClose={close} />}
      {asked?.what === 'exchange' && <ExchangeDialog machine={machine} onClose={close} />}
      {asked?.what === 'remove' && <RemoveDialog id={id} exchange={asked.exchange} onClose={close} />}
      {made && (made.clientSecret || made.apiKey) && (
        <MadeDialog clientId={id} made={made} onSaved={() => setMade(undefined)} />
      )}
    </>
  )
}

/** Also of what is no id. */
const unknown = {
  title: 'There is no such service account',
  code: 'CLIENT_NOT_FOUND',
  back: { href: '/admin/machines', label: 'To the machines' },
}

function Details({ machine: { id, roles, scopes, audiences, createdAt, lastUsedAt } }: { machine: MachineDetails }) {
  return (
    <section className="card">
      <header>
        <h2>Account</h2>
      </header>
      <dl className="details">
        <Detail name="Client ID" action={<CopyButton text={id} label="Copy" />}>
          <code>{id}</code>
        </Detail>
        <Detail name="Roles">
          <Chips words={roles} none="None" />
        </Detail>
        <Detail name="Scopes">
          <Chips words={scopes} none="None" />
        </Detail>
        <Detail name="Audiences">
          <Chips words={audiences} none="None" />
        </Detail>
        <Detail name="Made">{formatMoment(createdAt)}</Detail>
        <Detail name="Last used">{lastUsedAt ? formatAgo(lastUsedAt) : 'Never'}</Detail>
      </dl>
    </section>
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

interface CredentialsProps {
  credentials: Credential[]
  onAdd(): void
  onRevoke(credential: Credential): void
}

function Credentials({ credentials, onAdd, onRevoke }: CredentialsProps) {
  return (
    <section className="card credentials">
      <header>
        <h2>Credentials</h2>
        <button type="button" className="small" onClick={onAdd}>
          Add a credential
        </button>
      </header>
      {credentials.length === 0 ? (
        <Empty title="None">
          <p>It gets no token before it has one.</p>
        </Empty>
      ) : (
        <ul>
          {credentials.map((credential) => (
            <CredentialRow key={credential.id} credential={credential} onRevoke={() => onRevoke(credential)} />
          ))}
        </ul>
      )}
    </section>
  )
}

function CredentialRow({ credential, onRevoke }: { credential: Credential; onRevoke: () => void }) {
  const { kind, name, createdAt, expiresAt, lastUsedAt, jwksUri, keys } = credential
  const isOver = expiresAt !== null && Date.parse(expiresAt) <= Date.now()
  return (
    <li className={`row${isOver ? ' faded' : ''}`}>
      <div className="row-main">
        <strong>{name}</strong>
        {kind === 'keys' && <span>{jwksUri ?? keys.map(({ kid, alg }) => `${kid} (${alg})`).join(', ')}</span>}
        <span>
          Made {formatDate(createdAt)}, {lastUsedAt ? `last used ${formatAgo(lastUsedAt)}` : 'never used'}
        </span>
        {expiresAt && (
          <span>
            {isOver ? 'Expired' : 'Works until'} {formatMoment(expiresAt)}
          </span>
        )}
      </div>
      <span className="chip">{kinds[kind].name}</span>
      <button type="button" className="small danger" aria-label={`Revoke ${name}`} onClick={onRevoke}>
        Revoke
      </button>
    </li>
  )
}

interface ExchangesProps {
  exchanges: Exchange[]
  onAdd(): void
  onRemove(exchange: Exchange): void
}

function Exchanges({ exchanges, onAdd, onRemove }: ExchangesProps) {
  return (
    <section className="card">
      <header>
        <h2>Acts for its callers</h2>
        <button type="button" className="small" onClick={onAdd}>
          Add an audience
        </button>
      </header>
      {exchanges.length === 0 ? (
        <Empty title="Nowhere">
          <p>What it calls knows it as itself, and not for whom it calls.</p>
        </Empty>
      ) : (
        <ul>
          {exchanges.map((exchange) => (
            <ExchangeRow key={exchange.id} exchange={exchange} onRemove={() => onRemove(exchange)} />
          ))}
        </ul>
      )}
    </section>
  )
}

function ExchangeRow({
  exchange: { from, audience, roles, scopes },
  onRemove,
}: {
  exchange: Exchange
  onRemove(): void
}) {
  return (
    <li className="row">
      <div className="row-main">
        <strong>At {audience}</strong>
        <span>For whoever calls {from}</span>
        <span>Roles carried over: {roles.join(', ') || 'none'}</span>
        <span>Scopes: {scopes.join(' ') || 'none'}</span>
      </div>
      <button type="button" className="small danger" aria-label={`Remove ${audience} for ${from}`} onClick={onRemove}>
        Remove
      </button>
    </li>
  )
}

/** What is the same about everything that stops something. */
function useEnding(end: () => Promise<unknown>, done: string, onClose: () => void) {
  const queries = useQueryClient()
  const tell = useToast()
  const { mutate, isPending, error } = useMutation({
    mutationFn: end,
    onSuccess: async () => {
      tell(done)
      onClose()
      await queries.invalidateQueries({ queryKey: ['machines'] })
      // The button that had the focus has gone.
      document.getElementById('main')?.focus()
    },
  })
  return { isPending, error, onConfirm: () => mutate(), onClose }
}

function DeleteDialog({ machine, onClose }: { machine: MachineDetails; onClose: () => void }) {
  const { id, name, credentials, exchanges } = machine
  const [, navigate] = useLocation()
  const queries = useQueryClient()
  const tell = useToast()
  const { mutate, isPending, error } = useMutation({
    mutationFn: () => machines.remove(id),
    onSuccess: () => {
      tell(`${name} is deleted.`)
      navigate('/admin/machines')
      queries.removeQueries({ queryKey: ['machines', id] })
    },
  })
  const audiences = [...new Set(exchanges.map(({ audience }) => audience))]
  return (
    <Confirm
      title={`Delete ${name}?`}
      label="Delete"
      isPending={isPending}
      error={error}
      onConfirm={() => mutate()}
      onClose={onClose}
    >
      Its tokens are refused at once, and{' '}
      {credentials.length === 1 ? 'its credential works' : `its ${credentials.length} credentials work`} no more: every
      program that uses this account stops being let in.
      {audiences.length > 0 && ` It no longer acts for its callers at ${audiences.join(' and ')}.`} This cannot be taken
      back.
    </Confirm>
  )
}

function RevokeDialog({ id, credential, onClose }: { id: string; credential: Credential; onClose: () => void }) {
  const { name } = credential
  const ending = useEnding(() => machines.revokeCredential(id, credential.id), `${name} is revoked.`, onClose)
  return (
    <Confirm title={`Revoke ${name}?`} label="Revoke" {...ending}>
      What uses it is refused at once, also with tokens that it got already. Other credentials go on. This cannot be
      taken back.
    </Confirm>
  )
}

function RemoveDialog({ id, exchange, onClose }: { id: string; exchange: Exchange; onClose: () => void }) {
  const { audience, from } = exchange
  const done = `It no longer acts for its callers at ${audience}.`
  const ending = useEnding(() => machines.removeExchange(id, exchange.id), done, onClose)
  return (
    <Confirm title={`Remove ${audience}?`} label="Remove" {...ending}>
      It no longer acts at {audience} for whoever calls {from}, and the tokens for that are refused at once.
    </Confirm>
  )
}
