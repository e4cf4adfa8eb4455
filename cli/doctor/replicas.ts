import { publicJwk } from '@sallyport/identity'
import {
  type Database,
  type DatabaseCheck,
  type Finding,
  failure,
  orOk,
  type Patient,
  unknown,
  warning,
} from './check.ts'
import { clockFinding } from './database.ts'

/** Milliseconds by which a process may be silent, which says every 10 s that it runs. */
const silence = 30_000

/** Seconds by which the view of ended sessions may lag. */
const freshStream = 30

interface Replica {
  id: string
  kind: 'auth' | 'gateway'
  version: string
  /** Milliseconds since it was heard of. */
  age: number
  gone: boolean
  state: {
    streamAge?: number | null
    keys?: string[]
    signingKeys?: string[]
    activeKey?: string
    clockSkewMs?: number
  }
}

/** @returns undefined if this version of the database knows of no processes */
export async function replicasOf(pool: Database['pool']): Promise<Replica[] | undefined> {
  const known = await pool.query("SELECT to_regclass('auth.replicas') IS NOT NULL AS known")
  if (!known.rows[0].known) return undefined
  const { rows } = await pool.query<Omit<Replica, 'gone'>>(
    `SELECT id, kind, version, state, extract(epoch FROM now() - seen_at)::float8 * 1000 AS age
     FROM auth.replicas ORDER BY kind, started_at`,
  )
  return rows.map((row) => ({ ...row, gone: row.age > silence }))
}

const nameOf = ({ kind, id }: Replica) => `${kind} ${id.slice(0, 8)}`

/** A check of the processes that run. */
const ofReplicas =
  (check: (replicas: Replica[], patient: Patient) => Finding[]): DatabaseCheck =>
  async ({ pool }, patient) => {
    const replicas = await replicasOf(pool)
    return replicas ? check(replicas, patient) : [unknown('the table auth.replicas is not there')]
  }

const running = (replicas: Replica[], kind: Replica['kind']) =>
  replicas.filter((replica) => replica.kind === kind && !replica.gone)

export const processes = ofReplicas((replicas) => {
  const [auth, gateways] = [running(replicas, 'auth'), running(replicas, 'gateway')]
  const versions = new Set([...auth, ...gateways].map(({ version }) => version))
  return orOk(
    [
      auth.length === 0 && warning('no process of auth runs', 'start one, or see why its reports do not get here'),
      gateways.length === 0 &&
        warning(
          'no gateway reports',
          'start one with REVOCATIONS_SECRET and the address of auth as docs/operations.md says',
        ),
      versions.size > 1 &&
        warning(`they are of several versions: ${[...versions].join(', ')}`, 'finish the upgrade, or take it back'),
      ...replicas
        .filter(({ gone }) => gone)
        .map((replica) =>
          warning(
            `${nameOf(replica)} has not been heard of for ${Math.round(replica.age / 1000)} s`,
            'if nobody stopped it, see why it ended or cannot reach auth',
          ),
        ),
    ],
    `${auth.length} of auth run, and ${gateways.length} of the gateway, of version ${[...versions].join()}`,
  )
})

export const replicaClocks = ofReplicas((replicas) =>
  orOk(
    replicas
      .filter(({ gone }) => !gone)
      .map((replica) => clockFinding(nameOf(replica), (replica.state.clockSkewMs ?? 0) / 1000)),
    'they agree with the database',
  ),
)

/** What signs here has to be what signs everywhere, and every gateway has to know it. */
export const keys = ofReplicas((replicas, { config }) => {
  if (!config) return [unknown('the settings of auth are wrong')]
  const ours = config.accessToken.privateKeys.map((key) => publicJwk(key).kid)
  const [active = ''] = ours
  const others = running(replicas, 'auth').filter(({ state }) => state.activeKey && state.activeKey !== active)
  const gateways = running(replicas, 'gateway')
  return orOk(
    [
      ...others.map((replica) =>
        failure(
          `${nameOf(replica)} signs with ${replica.state.activeKey}, and not with ${active} as these settings say`,
          'give every process of auth the same JWT_PRIVATE_KEY',
        ),
      ),
      ...gateways.flatMap((replica) => {
        const missing = ours.filter((kid) => !replica.state.keys?.includes(kid))
        if (missing.includes(active))
          return failure(
            `${nameOf(replica)} does not have the key ${active}, and refuses every token that it signs`,
            'see that its JWKS_URL leads to this auth, and what it logs of jwks',
          )
        return missing.map((kid) =>
          warning(`${nameOf(replica)} does not have the key ${kid} yet`, 'activate it once every gateway has it'),
        )
      }),
    ],
    gateways.length === 0 ? `${active} signs` : `${active} signs, and every gateway has it`,
  )
})

export const streams = ofReplicas((replicas) => {
  const gateways = running(replicas, 'gateway')
  if (gateways.length === 0) return [unknown('no gateway reports')]
  const ages = gateways.map(({ state }) => state.streamAge ?? null)
  return orOk(
    gateways.map((replica) => {
      const { streamAge = null } = replica.state
      if (streamAge === null)
        return warning(
          `${nameOf(replica)} follows no stream: ended sessions go on there until their tokens expire`,
          'set REVOCATIONS_URL and REVOCATIONS_SECRET for it',
        )
      if (streamAge <= freshStream) return undefined
      return failure(
        `${nameOf(replica)} has heard nothing of ended sessions for ${Math.round(streamAge)} s`,
        'see that it reaches REVOCATIONS_URL, and that LISTEN works here',
      )
    }),
    `every gateway is up to date, the slowest by ${Math.max(...ages.map(Number)).toFixed(1)} s`,
  )
})
