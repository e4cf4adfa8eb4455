import type { Application } from '@sallyport/chassis'
import type { Database, Statement } from '@sallyport/database'
import Type, { type TProperties } from 'typebox'
import type { AdminGuards } from '../admin/fields.ts'
import type { Config } from '../config.ts'
import { mailTask } from '../mail/queue.ts'
import type { KeySet } from '../tokens/key-set.ts'
import {
  isGone,
  judgeDatabase,
  judgeKeys,
  judgeMail,
  judgeQueue,
  judgeReplica,
  judgeRevocations,
  type MailFacts,
  type QueueRow,
  type ReplicaRow,
  worstOf,
} from './judge.ts'

const Judgement = Type.Union([Type.Literal('ok'), Type.Literal('warning'), Type.Literal('failure')])
const Advice = Type.Union([Type.String(), Type.Null()], { description: 'what to do; null where there is nothing' })
const judged = <Part extends TProperties>(part: Part) => Type.Object({ judgement: Judgement, advice: Advice, ...part })
const Moment = Type.Union([Type.String(), Type.Null()])

const Health = judged({
  at: Type.String({ description: "the database's time" }),
  replicas: Type.Array(
    judged({
      id: Type.String(),
      kind: Type.String({ description: '`auth` or `gateway`' }),
      version: Type.String(),
      startedAt: Type.String(),
      seenAt: Type.String(),
      gone: Type.Boolean({ description: 'nothing was heard of it for 30 seconds' }),
      clockSkewMs: Type.Number({ description: "by how much its clock is ahead of the database's" }),
      keys: Type.Array(Type.String(), { description: 'with which it signs, or verifies' }),
      streamAge: Type.Union([Type.Number(), Type.Null()], {
        description: 'of a gateway, seconds since it was proved to know of every ended session',
      }),
    }),
  ),
  revocations: judged({
    gateways: Type.Integer({ description: 'how many say that they run' }),
    withoutStream: Type.Integer({ description: 'how many of them follow no stream of ended sessions' }),
    oldestSeconds: Type.Union([Type.Number(), Type.Null()]),
  }),
  keys: judged({
    active: Type.String(),
    published: Type.Array(Type.String()),
    gatewaysWithout: Type.Array(Type.Object({ id: Type.String(), missing: Type.Array(Type.String()) })),
  }),
  queue: judged({
    waiting: Type.Integer(),
    failing: Type.Integer({ description: 'tried, and to be tried again' }),
    dead: Type.Integer({ description: 'given up; kept for 30 days' }),
    oldestSeconds: Type.Number({ description: 'of those that are still to be done' }),
    deadLetters: Type.Array(
      Type.Object({
        id: Type.String(),
        task: Type.String(),
        failedAt: Type.String(),
        attempts: Type.Integer(),
        code: Type.Union([Type.String(), Type.Null()], { description: 'why, of a mail' }),
      }),
      { description: 'the last ten' },
    ),
  }),
  mail: judged({
    configured: Type.Boolean(),
    lastSentAt: Moment,
    lastFailure: Type.Union([
      Type.Object({ at: Type.String(), reason: Type.String(), code: Type.String() }),
      Type.Null(),
    ]),
  }),
  database: judged({
    version: Type.String(),
    connections: Type.Integer(),
    maxConnections: Type.Integer(),
    clockSkewMs: Type.Number({ description: "by how much the clock of auth is ahead of the database's" }),
  }),
})

const schema = {
  operationId: 'getHealth',
  tags: ['administration'],
  summary: 'How the system is, and what to do about what is not well',
  description:
    'What processes say of themselves every ten seconds, and what the database knows. `docs/operations.md` has more about each.',
  response: { 200: { ...Health, description: 'Each part with a judgement; the whole has that of the worst' } },
}

/** One row for each process that has said within a day that it runs. */
const listReplicas: Statement = {
  name: 'list_replicas',
  text: `
    SELECT id, kind, version, started_at AS "startedAt", seen_at AS "seenAt",
           extract(epoch FROM now() - seen_at)::float8 AS age, state
    FROM auth.replicas ORDER BY kind, started_at, id`,
}

/** As upkeep.ts counts mails; what else is queued ends in mails too. */
const isDead = 'attempts >= max_attempts AND locked_at IS NULL'

/** When a job failed last: the queue adds to that the wait for the next try, also after the last. */
const failedAt = "run_at - exp(least(attempts, 10)) * interval '1 second'"

const countQueue: Statement = {
  name: 'count_queue',
  text: `
    SELECT count(*) FILTER (WHERE NOT dead AND last_error IS NULL)::int AS waiting,
      count(*) FILTER (WHERE NOT dead AND last_error IS NOT NULL)::int AS failing,
      count(*) FILTER (WHERE dead)::int AS dead,
      count(*) FILTER (WHERE dead AND ${failedAt} > now() - interval '1 day')::int AS "deadLately",
      coalesce(extract(epoch FROM now() - min(created_at) FILTER (WHERE NOT dead)), 0)::float8 AS "oldestSeconds"
    FROM graphile_worker._private_jobs, LATERAL (SELECT ${isDead} AS dead) AS state`,
}

const listDead: Statement = {
  name: 'list_dead',
  text: `
    SELECT j.id::text AS id, t.identifier AS task, ${failedAt} AS "failedAt", j.attempts::int AS attempts,
           CASE WHEN t.identifier = $1 THEN j.last_error END AS code
    FROM graphile_worker._private_jobs j JOIN graphile_worker._private_tasks t ON t.id = j.task_id
    WHERE ${isDead} ORDER BY ${failedAt} DESC, j.id DESC LIMIT 10`,
}

const describeServer: Statement = {
  name: 'describe_server',
  text: `
    SELECT current_setting('server_version') AS version, current_setting('max_connections')::int AS "maxConnections",
           (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int AS connections,
           extract(epoch FROM clock_timestamp())::float8 * 1000 AS time`,
}

interface Server {
  version: string
  connections: number
  maxConnections: number
  time: number
}

interface DeadRow {
  id: string
  task: string
  failedAt: Date
  attempts: number
  code: string | null
}

interface Dependencies extends AdminGuards {
  config: Config
  database: Database
  keys: { readonly current: KeySet }
}

/** How the system is, for whoever is on call. It shows what is public, or says nothing to who is no admin. */
export function healthRoute(app: Application, { config, database, keys, admin }: Dependencies): void {
  app.get('/api/admin/health', { schema, preHandler: admin }, async () => {
    const [replicas, [counted], dead] = await Promise.all([
      database.run<ReplicaRow & { state: ReplicaRow['state'] & MailState }>(listReplicas, []),
      database.run<QueueRow>(countQueue, []),
      database.run<DeadRow>(listDead, [mailTask]),
    ])
    const asked = Date.now()
    const [server] = await database.run<Server>(describeServer, [])
    const { time, ...described } = server as Server
    const clockSkewMs = Math.round((asked + Date.now()) / 2 - time)
    const mail = mailFacts(
      config.mail !== undefined,
      replicas.map(({ state }) => state),
    )
    const { deadLately, ...queue } = counted as QueueRow
    const parts = {
      replicas: replicas.map((replica) => ({ ...viewReplica(replica), ...judgeReplica(replica, replicas) })),
      revocations: judgeRevocations(replicas),
      keys: judgeKeys(
        keys.current.jwks.keys.map(({ kid }) => kid),
        replicas,
      ),
      queue: {
        ...judgeQueue({ deadLately, ...queue }, mail.configured),
        ...queue,
        deadLetters: dead.map((letter) => ({ ...letter, failedAt: letter.failedAt.toISOString() })),
      },
      mail: { ...judgeMail(mail), ...mail },
      database: { ...judgeDatabase({ ...described, clockSkewMs }), ...described, clockSkewMs },
    }
    const { judgement, advice } = worstOf(Object.values(parts).flat())
    return { judgement, advice, at: new Date(time).toISOString(), ...parts }
  })
}

function viewReplica(replica: ReplicaRow) {
  const { id, kind, version, startedAt, seenAt, state } = replica
  return {
    ...{ id, kind, version, gone: isGone(replica), clockSkewMs: state.clockSkewMs },
    startedAt: startedAt.toISOString(),
    seenAt: seenAt.toISOString(),
    keys: [...(state.keys ?? []), ...(state.signingKeys ?? [])],
    streamAge: state.streamAge ?? null,
  }
}

/** What a process of auth says of the mails it sent (mail/worker.ts). */
interface MailState {
  mailSentAt?: string
  mailFailure?: { at: string; reason: string; code: string }
}

/** Of all processes together, the last of each. */
function mailFacts(configured: boolean, states: MailState[]): MailFacts {
  const sent = states.flatMap(({ mailSentAt }) => mailSentAt ?? []).sort()
  const failures = states.flatMap(({ mailFailure }) => mailFailure ?? [])
  failures.sort((one, other) => one.at.localeCompare(other.at))
  return { configured, lastSentAt: sent.at(-1) ?? null, lastFailure: failures.at(-1) ?? null }
}
