import { Connection } from '../lib/connection.ts'
import { median, quantile } from '../lib/quantile.ts'
import { type Method, startTokenServers, type TokenServer } from '../lib/token-servers.ts'

/**
 * Tokens that a service account gets for itself, per second of CPU of the process that issues them: beside oidc-provider
 * at its best, in turns, and beside what Keycloak's manual says of Keycloak.
 *
 *   npm run bench:tokens             (ROUNDS and REQUESTS make it longer or shorter)
 */
const rounds = Number(process.env.ROUNDS ?? 7)
const requests = Number(process.env.REQUESTS ?? 2_000)
const atOnce = 16

/**
 * "For each 120 client credential grants per second, 1 vCPU to the cluster (tested with up to 2000 per second). Most CPU
 * time goes into creating new TLS connections, as each client runs only a single request."
 * https://www.keycloak.org/high-availability/single-cluster/concepts-memory-and-cpu-sizing
 */
const keycloakDocumented = 120

const { sallyport, oidcProvider, bare, databaseUsed, stop } = await startTokenServers()
const methods: Method[] = ['client_secret_basic', 'private_key_jwt']

interface Issued {
  perSecond: number
  /** Microseconds of PostgreSQL's CPU per token. */
  database: number
}

/** Has so many tokens issued, by requests that were made before. */
async function issue(server: TokenServer, method: Method): Promise<Issued> {
  const made = Array.from({ length: requests }, (_, turn) => server.request(method, turn))
  const connections = Array.from({ length: atOnce }, () => new Connection(server.url))
  const [before, databaseBefore] = [server.used(), databaseUsed()]
  await Promise.all(
    connections.map(async (connection) => {
      for (let request = made.pop(); request; request = made.pop()) {
        const status = await connection.exchange(request)
        if (status !== 200) throw new Error(`${server.name} responded to ${method} with ${status}`)
      }
      connection.close()
    }),
  )
  const database = ((databaseUsed() - databaseBefore) / requests) * 1e6
  return { perSecond: requests / (server.used() - before), database }
}

const results = methods.map((method) => ({
  method,
  ours: [] as Issued[],
  theirs: [] as Issued[],
  least: [] as Issued[],
}))
for (let round = -2; round < rounds; round++)
  for (const { method, ours, theirs, least } of results) {
    const turns = [[sallyport, ours] as const, [oidcProvider, theirs] as const, [bare, least] as const]
    for (const [server, figures] of round % 2 === 0 ? turns : turns.toReversed()) {
      const issued = await issue(server, method)
      // The first two rounds warm up.
      if (round >= 0) figures.push(issued)
    }
  }
await stop()

const print = (line: string) => process.stdout.write(`${line}\n`)
const rate = (figures: Issued[]) => median(figures.map(({ perSecond }) => perSecond))
print(
  '| tokens per CPU second | Sallyport | oidc-provider | ratio | node:http that only signs | Keycloak, as documented |',
)
print('| --- | ---: | ---: | ---: | ---: | ---: |')
for (const { method, ours, theirs, least } of results) {
  const ratios = ours.map(({ perSecond }, round) => perSecond / (theirs[round] as Issued).perSecond)
  const [low, middle, high] = [0.25, 0.5, 0.75].map((share) => quantile(ratios, share).toFixed(2))
  const [own, other, bound] = [ours, theirs, least].map((figures) => rate(figures).toFixed(0))
  print(`| ${method} | ${own} | ${other} | ${middle} (${low} to ${high}) | ${bound} | ${keycloakDocumented} |`)
}
for (const { method, ours } of results) {
  const database = median(ours.map((figure) => figure.database)).toFixed(0)
  print(
    `${method}: ${(rate(ours) / keycloakDocumented).toFixed(1)} times Keycloak; PostgreSQL’s CPU ${database} us per token`,
  )
}
