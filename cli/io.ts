import type { Command } from 'commander'

/** What a command has besides its words, so that a test can be the terminal. */
export interface Io {
  env: Record<string, string | undefined>
  /** A line of the answer: standard output. */
  say: (line: string) => void
  /** A line beside it, for whoever reads along: standard error. */
  warn: (line: string) => void
  /** What is piped in, such as a password. */
  stdin: NodeJS.ReadableStream
}

/** Adds a group of commands to the program. An action throws an Error with the line that is shown, and then the exit code is 1. */
export type AddCommands = (program: Command, io: Io) => void
