/**
 * Prints how many sessions each rule loses and how many thieves it misses, played by the model of rotation-model.ts.
 * The seed is fixed, so every run prints the same table: node test/dist/rotation/rotation-comparison.js
 */
import fc from 'fast-check'
import { historiesOf, play, type Report, type Server } from './rotation-model.ts'
import { graceByFork, parentAllowed, strict } from './rotation-rules.ts'
import { memoryServer } from './rotation-servers.ts'

const sessions = 10_000
const seed = 1
const start = 1_800_000_000
const histories = historiesOf(80)

const rules: [string, () => Server][] = [
  ['strict rotation', strict],
  ['grace by fork', graceByFork],
  ['parent always allowed', parentAllowed],
  ['Sallyport', () => memoryServer(start)],
]
const share = (part: number, of: number) => `${part} of ${of} (${((100 * part) / of).toFixed(1)} %)`

async function count(server: () => Server, kind: keyof typeof histories, what: (report: Report) => boolean) {
  let counted = 0
  for (const history of fc.sample(histories[kind], { numRuns: sessions, seed }))
    counted += Number(what(await play(server(), history, start)))
  return counted
}

const lines = [
  '| rule | lost: one tab, lost responses | lost: three tabs, disorder | lost: every fault | thieves missed |',
  '| --- | --- | --- | --- | --- |',
]
for (const [name, server] of rules) {
  const lost = []
  for (const kind of ['lostResponses', 'tabs', 'honest'] as const)
    lost.push(share(await count(server, kind, (report) => report.lost), sessions))
  const stolen = await count(server, 'theft', (report) => report.stolen && !report.lost)
  const missed = await count(server, 'theft', (report) => report.undetected && !report.lost)
  lines.push(`| ${[name, ...lost, share(missed, stolen)].join(' | ')} |`)
}
process.stdout.write(`${lines.join('\n')}\n`)
