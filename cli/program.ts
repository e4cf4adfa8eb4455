import { ConfigurationError } from '@sallyport/chassis/settings'
import { Problem } from '@sallyport/verify'
import { Command, CommanderError } from 'commander'
import { AlreadySaid } from './answer.ts'
import type { AddCommands, Io } from './io.ts'
import { printable } from './printable.ts'

/** The groups of commands, in the order in which `--help` lists them. Each is loaded when it is asked for. */
const groups: Record<string, () => Promise<AddCommands>> = {
  users: async () => (await import('./users-commands.ts')).addUsers,
  clients: async () => (await import('./clients-commands.ts')).addClients,
  events: async () => (await import('./events-commands.ts')).addEvents,
  import: async () => (await import('./import-commands.ts')).addImport,
  keys: async () => (await import('./keys-commands.ts')).addKeys,
  routes: async () => (await import('./routes-commands.ts')).addRoutes,
  doctor: async () => (await import('./doctor-commands.ts')).addDoctor,
  breached: async () => (await import('./breached-commands.ts')).addBreached,
}

/** The program, with one group or all of them. What it is asked for it says by `io`, and what goes wrong it throws. */
export async function createProgram(io: Io, group = ''): Promise<Command> {
  const program = new Command('sallyport').description('What operators of Sallyport do: docs/command-line.md')
  const wanted = Object.entries(groups).filter(([name]) => name === group || !Object.hasOwn(groups, group))
  for (const [, load] of wanted) (await load())(program, io)
  for (const command of withSubcommands(program)) {
    command.exitOverride().helpCommand(false)
    command.configureOutput({
      getOutHelpWidth: () => 80,
      writeOut: (text) => text.trimEnd().split('\n').forEach(io.say),
      writeErr: () => {},
    })
    if (command.commands.length === 0 && !command.options.some(({ long }) => long === '--json'))
      command.option('--json', 'say it in JSON')
  }
  return program
}

/**
 * Does what the words say.
 *
 * @returns the exit code: 0, or 1 if what was asked for cannot be done, which `warn` received
 */
export async function run(words: string[], { say, warn, ...rest }: Io): Promise<number> {
  const io: Io = { ...rest, say: (line) => say(printable(line)), warn: (line) => warn(printable(line)) }
  const program = await createProgram(io, words[0])
  try {
    await program.parseAsync(words, { from: 'user' })
    return 0
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0
    if (error instanceof AlreadySaid) return 1
    const lines =
      error instanceof CommanderError ? [usageFault(error, commandOf(program, words))] : linesOf(error as Error)
    if (words.includes('--json')) io.warn(JSON.stringify({ error: lines.join('\n') }))
    else for (const line of lines) io.warn(`sallyport: ${line}`)
    return 1
  }
}

function linesOf(error: Error): string[] {
  // One for each setting to correct.
  if (error instanceof ConfigurationError) return error.message.split('\n')
  // What the database says is at the end, below the code that asked it.
  if (error.name.startsWith('PrismaClient')) return error.message.trim().split('\n').slice(-1)
  const { detail } = error instanceof Problem ? error.options : {}
  return [detail === undefined ? error.message : `${error.message}. ${detail}`]
}

export const withSubcommands = (command: Command): Command[] => [command, ...command.commands.flatMap(withSubcommands)]

/** As much of a command as the words name. */
function commandOf(program: Command, [word, ...words]: string[]): Command {
  const command = program.commands.find((one) => one.name() === word)
  return command ? commandOf(command, words) : program
}

/** What is wrong with the words, in a line. */
function usageFault({ code, message }: CommanderError, command: Command): string {
  const usage = `usage: ${command.createHelp().commandUsage(command)}`
  if (code === 'commander.help') return `${usage}; --help lists the commands`
  return `${message.replace(/^error: |\.$/g, '').replaceAll('\n', ' ')}; ${usage}`
}
