import { Readable } from 'node:stream'
import { run } from './program.ts'

/** For tests: runs the program as a terminal does, and takes what it says. */
export async function takeOutput(words: string[], env: Record<string, string | undefined> = {}, input = '') {
  const taken = { output: '', errors: '' }
  const code = await run(words, {
    env,
    stdin: Readable.from([input]),
    say: (line) => {
      taken.output += `${line}\n`
    },
    warn: (line) => {
      taken.errors += `${line}\n`
    },
  })
  return { code, ...taken }
}
