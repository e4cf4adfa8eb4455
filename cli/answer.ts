import type { Command } from 'commander'
import type { Io } from './io.ts'

/** What a command answers: one value for programs, and lines for people. */
export interface Answer {
  value: unknown
  lines: string[]
  /** For people, beside the answer; the value has them itself. */
  warnings?: string[]
  /** True if the answer is that something is not as it has to be: the exit code is 1. */
  failed?: boolean
}

/** Thrown when what is wrong was the answer, so that nothing is left to say but the exit code. */
export class AlreadySaid extends Error {}

/** Makes an action of a command out of a function that has an answer: of its operands, and its options. */
export function answering<Words extends unknown[]>(io: Io, work: (...words: Words) => Answer | Promise<Answer>) {
  return async (...words: [...Words, Command]): Promise<void> => {
    const command = words.at(-1) as Command
    const { value, lines, warnings = [], failed } = await work(...(words.slice(0, -1) as Words))
    if (command.opts().json) io.say(JSON.stringify(value))
    else {
      for (const warning of warnings) io.warn(`sallyport: warning: ${warning}`)
      lines.forEach(io.say)
    }
    if (failed) throw new AlreadySaid()
  }
}
