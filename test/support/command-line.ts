import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const program = fileURLToPath(new URL('../../../cli/bin/sallyport.js', import.meta.url))

export interface Outcome {
  code: number
  output: string
  errors: string
}

/** Runs `sallyport` as an operator does, as a process with these settings alone. */
export function sallyport(words: string[], env: Record<string, string | undefined> = {}, input = ''): Promise<Outcome> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [program, ...words], { env }, (error, output, errors) =>
      resolve({ code: error === null ? 0 : Number(error.code), output, errors }),
    )
    child.stdin?.end(input)
  })
}
