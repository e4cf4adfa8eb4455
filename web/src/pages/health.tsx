import { useQuery } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import { admin, type Health, type Judgement, type Replica, type Verdict } from '../admin.ts'
import { Ago } from '../parts/ago.tsx'
import { Detail } from '../parts/detail.tsx'
import { AlertIcon, CheckIcon } from '../parts/icons.tsx'
import { Empty, Failure, Loading } from '../parts/states.tsx'

/** Milliseconds between two looks: as often as processes say how they are. */
const every = 10_000

/** How the system is, and what to do about what is not well, for whoever is on call. */
export function HealthPage() {
  const { data, error, refetch } = useQuery({
    queryKey: ['health'],
    queryFn: admin.health,
    refetchInterval: every,
    retry: false,
  })
  return (
    <>
      <header className="page-head">
        <div>
          <h1>Health</h1>
          <p>{data ? <>As of {<Ago at={data.at} />}, looked at every ten seconds</> : 'How the system is'}</p>
        </div>
        <div className="buttons">
          <button type="button" onClick={() => void refetch()}>
            Look now
          </button>
        </div>
      </header>
      {error && <Failure error={error} onRetry={() => void refetch()} />}
      {data ? <Parts health={data} /> : !error && <Loading rows={5} />}
    </>
  )
}

function Parts({ health }: { health: Health }) {
  const { replicas, revocations, keys, queue, mail, database } = health
  return (
    <>
      <Problems health={health} />
      <div className="sections health">
        <Part title="Processes" of={worst(replicas)}>
          {replicas.length === 0 ? (
            <Empty title="None says that it runs" />
          ) : (
            <ul>
              {replicas.map((replica) => (
                <ReplicaRow key={replica.id} replica={replica} />
              ))}
            </ul>
          )}
        </Part>
        <div className="columns">
          <Part title="Ended sessions" of={revocations}>
            <dl className="details">
              <Detail name="Gateways" value={revocations.gateways} />
              <Detail
                name="Oldest view"
                value={revocations.oldestSeconds === null ? '–' : seconds(revocations.oldestSeconds)}
              />
              {revocations.withoutStream > 0 && <Detail name="Without stream" value={revocations.withoutStream} />}
            </dl>
          </Part>
          <Part title="Database" of={database}>
            <dl className="details">
              <Detail name="PostgreSQL" value={database.version} />
              <Detail name="Connections" value={`${database.connections} of ${database.maxConnections}`} />
              <Detail name="Clock" value={skew(database.clockSkewMs, 'auth')} />
            </dl>
          </Part>
          <Part title="Queue" of={queue}>
            <dl className="details">
              <Detail name="Waiting" value={queue.waiting} />
              <Detail name="To try again" value={queue.failing} />
              <Detail name="Oldest" value={queue.waiting + queue.failing > 0 ? seconds(queue.oldestSeconds) : '–'} />
              <Detail name="Given up" value={queue.dead} />
            </dl>
          </Part>
          <Part title="Mail" of={mail}>
            <dl className="details">
              <Detail name="Sending" value={mail.configured ? 'Set up' : 'Not set up'} />
              <Detail name="Last sent" value={mail.lastSentAt ? <Ago at={mail.lastSentAt} /> : '–'} />
              <Detail
                name="Last failure"
                value={
                  mail.lastFailure ? (
                    <>
                      <Ago at={mail.lastFailure.at} />, {mail.lastFailure.reason} ({mail.lastFailure.code})
                    </>
                  ) : (
                    '–'
                  )
                }
              />
            </dl>
          </Part>
        </div>
        <Part title="Keys of access tokens" of={keys}>
          <dl className="details">
            {keys.published.map((kid) => (
              <Detail
                key={kid}
                name={kid === keys.active ? 'Signs' : 'Verifies'}
                value={
                  <>
                    <code>{kid}</code>
                    <KeyAt kid={kid} health={health} />
                  </>
                }
              />
            ))}
          </dl>
        </Part>
        {queue.deadLetters.length > 0 && (
          <section className="card">
            <header>
              <h2>Given up last</h2>
            </header>
            <ul>
              {queue.deadLetters.map(({ id, task, failedAt, attempts, code }) => (
                <li key={id} className="row">
                  <div className="row-main">
                    <strong>
                      {task} {id}
                    </strong>
                    <span>
                      <Ago at={failedAt} />, after {attempts} tries{code && `: ${code}`}
                    </span>
                  </div>
                </li>
              ))}
            </ul>
          </section>
        )}
      </div>
    </>
  )
}

/** What is not well, the worst first, each with what to do. */
function Problems({ health }: { health: Health }) {
  const { replicas, revocations, keys, queue, mail, database } = health
  const problems = [
    { name: 'Ended sessions', ...revocations },
    { name: 'Keys of access tokens', ...keys },
    { name: 'Database', ...database },
    { name: 'Queue', ...queue },
    { name: 'Mail', ...mail },
    ...replicas.map((replica) => ({ ...replica, name: nameOf(replica) })),
  ]
    .filter(({ judgement }) => judgement !== 'ok')
    .sort((one, other) => severity[other.judgement] - severity[one.judgement])
  return (
    <section className={`card verdict ${health.judgement}`} aria-label="What needs you" aria-live="polite">
      <header>
        {health.judgement === 'ok' ? <CheckIcon /> : <AlertIcon />}
        <h2>{headlines[health.judgement]}</h2>
      </header>
      {problems.length > 0 && (
        <ul>
          {problems.map(({ name, judgement, advice }) => (
            <li key={`${name} ${advice}`} className="row">
              <State judgement={judgement} />
              <div className="row-main">
                <strong>{name}</strong>
                <span>{advice}</span>
              </div>
            </li>
          ))}
        </ul>
      )}
    </section>
  )
}

const headlines = {
  ok: 'All is well',
  warning: 'Something needs a look',
  failure: 'Something is broken',
}
const severity = { ok: 0, warning: 1, failure: 2 }
const stateNames = { ok: 'OK', warning: 'Warning', failure: 'Failure' }

const worst = (verdicts: Verdict[]): Verdict =>
  verdicts.reduce((one, other) => (severity[other.judgement] > severity[one.judgement] ? other : one), {
    judgement: 'ok',
    advice: null,
  })

const State = ({ judgement }: { judgement: Judgement }) => (
  <span className={`state-chip ${judgement}`}>{stateNames[judgement]}</span>
)

function Part({ title, of: { judgement }, children }: { title: string; of: Verdict; children: ReactNode }) {
  return (
    <section className="card" aria-label={title}>
      <header>
        <h2>{title}</h2>
        <State judgement={judgement} />
      </header>
      {children}
    </section>
  )
}

const kinds: Record<string, string> = { auth: 'Auth', gateway: 'Gateway' }
const nameOf = ({ kind, id }: Pick<Replica, 'kind' | 'id'>) => `${kinds[kind] ?? kind} ${id.slice(0, 8)}`

function ReplicaRow({ replica }: { replica: Replica }) {
  const { version, startedAt, seenAt, gone, clockSkewMs, judgement, streamAge, keys } = replica
  return (
    <li className={`row${gone ? ' faded' : ''}`}>
      <div className="row-main">
        <strong>{nameOf(replica)}</strong>
        <span>
          {version}, started <Ago at={startedAt} />
        </span>
        <span>
          {gone ? (
            <>
              Gone: last heard of <Ago at={seenAt} />
            </>
          ) : (
            [
              replica.kind === 'gateway' && (streamAge === null ? 'no stream' : `stream ${seconds(streamAge)} old`),
              `${keys.length} ${keys.length === 1 ? 'key' : 'keys'}`,
              `clock ${skew(clockSkewMs, 'it')}`,
            ]
              .filter(Boolean)
              .join(', ')
          )}
        </span>
      </div>
      <State judgement={judgement} />
    </li>
  )
}

/** Which gateways have a key, and which have not. */
function KeyAt({ kid, health: { replicas, keys } }: { kid: string; health: Health }) {
  const without = keys.gatewaysWithout.filter(({ missing }) => missing.includes(kid))
  const at = replicas.filter((each) => each.kind === 'gateway' && !each.gone && each.keys.includes(kid)).length
  if (without.length === 0)
    return <span className="hint">at {at === 1 ? 'the one gateway' : `all ${at} gateways`}</span>
  const names = without.map(({ id }) => nameOf({ kind: 'gateway', id }))
  return <span className="hint bad">not at {names.join(', ')}</span>
}

/** Such as "4 s" and "12 min". */
const seconds = (count: number) =>
  count < 120
    ? `${Math.round(count)} s`
    : count < 7_200
      ? `${Math.round(count / 60)} min`
      : `${Math.round(count / 3_600)} h`

/** How far a clock is from the database's; below a tenth of a second it may be the way between. */
const skew = (milliseconds: number, whose: string) =>
  Math.abs(milliseconds) < 100
    ? 'right'
    : `${(Math.abs(milliseconds) / 1000).toFixed(1)} s ${milliseconds > 0 ? `(${whose} is ahead)` : `(${whose} is behind)`}`
