import { Pool } from 'undici'
import { startSallyport, startUpstream } from '../lib/contestants.ts'
import { residentBytes } from '../lib/cpu.ts'
import { startIssuer } from '../lib/issuer.ts'

/**
 * Whether the gateway's memory stays flat: a million different tokens, each used twice.
 *
 *   npm run bench:memory             (takes minutes; TOKENS=100000 makes it shorter)
 */
const tokens = Number(process.env.TOKENS ?? 1_000_000)
const connections = 50
const reports = 10

const issuer = await startIssuer()
const upstream = await startUpstream()
const gateway = await startSallyport({ issuer, upstream: upstream.port })
const pool = new Pool(`http://127.0.0.1:${gateway.port}`, { connections, pipelining: 1 })
const megabytes = () => Math.round(residentBytes(gateway.pids[0] as number) / 1024 / 1024)

process.stdout.write('| requests | different tokens | resident memory |\n| ---: | ---: | ---: |\n')
const report = (done: number) => process.stdout.write(`| ${done * 2} | ${done} | ${megabytes()} MiB |\n`)
report(0)
for (let done = 0; done < tokens; done += tokens / reports) {
  let left = tokens / reports
  await Promise.all(
    Array.from({ length: connections }, async () => {
      while (left-- > 0) {
        const headers = { authorization: `Bearer ${issuer.token()}` }
        for (let use = 0; use < 2; use++) {
          const { statusCode, body } = await pool.request({ method: 'GET', path: '/api/things/42', headers })
          await body.dump()
          if (statusCode !== 200) throw new Error(`the gateway responded with ${statusCode}`)
        }
      }
    }),
  )
  report(done + tokens / reports)
}
await pool.close()
await Promise.all([gateway.stop(), upstream.stop()])
issuer.close()
