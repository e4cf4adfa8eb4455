import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { type Program, replay, soak } from './harness.ts'

/**
 * Long-running fuzzers of the gateway; README.md says what each does.
 *
 *   npm run soak -- [readers|ways|upstreams|chaos] [--replay FILE]
 */
const programs: Record<string, () => Promise<Program<unknown>>> = {
  readers: async () => (await import('./readers.ts')).openReaders() as Promise<Program<unknown>>,
  upstreams: async () => (await import('./upstreams.ts')).openUpstreams() as Promise<Program<unknown>>,
  chaos: async () => (await import('./chaos.ts')).openChaos() as Promise<Program<unknown>>,
  ways: async () => (await import('./ways.ts')).openWays() as Promise<Program<unknown>>,
}

const { values, positionals } = parseArgs({ options: { replay: { type: 'string' } }, allowPositionals: true })
const settings = {
  seconds: Number(process.env.SOAK_SECONDS ?? 60),
  seed: process.env.SOAK_SEED ?? String(Math.floor(Math.random() * 1e9)),
  goesOn: process.env.SOAK_GO_ON === '1',
  folder: process.env.SOAK_FOLDER ?? 'test/soak/found',
}

let faults = 0
for (const name of positionals.length > 0 ? positionals : Object.keys(programs)) {
  const open = programs[name]
  if (!open) throw new Error(`no such program: ${name}; there are ${Object.keys(programs).join(', ')}`)
  const program = await open()
  try {
    if (values.replay === undefined) faults += await soak(name, program, settings)
    else if (await replay(name, program, JSON.parse(readFileSync(values.replay, 'utf8')))) faults += 1
  } finally {
    await program.close()
  }
}
process.exit(faults > 0 ? 1 : 0)
