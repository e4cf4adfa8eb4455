import { Readable } from 'node:stream'
import type { Command } from 'commander'
import t from 'tap'
import { printable } from './printable.ts'
import { createProgram, withSubcommands } from './program.ts'
import { tableOf } from './table.ts'
import { takeOutput } from './test-output.ts'

const io = { env: {}, say() {}, warn() {}, stdin: Readable.from([]) }

t.test('every command says what it does, and takes --json', async (t) => {
  const commands = withSubcommands(await createProgram(io))
  t.ok(commands.length > 30, 'they are found')
  for (const command of commands) {
    t.not(command.description(), '', command.name())
    if (command.commands.length === 0) t.ok(hasJson(command), command.name())
    for (const argument of command.registeredArguments)
      t.ok(argument.description || argument.argChoices, `${command.name()} ${argument.name()}`)
    for (const option of command.options) t.not(option.description, '', `${command.name()} ${option.flags}`)
  }
})

const hasJson = (command: Command) => command.options.some(({ long }) => long === '--json')

t.test('a group is loaded alone, if it is the one that is asked for', async (t) => {
  const names = async (group?: string) => (await createProgram(io, group)).commands.map((command) => command.name())
  t.strictSame(await names('keys'), ['keys'])
  t.ok((await names()).includes('users'))
  t.strictSame(await names('toString'), await names())
})

t.test('wrong words are one line, or one value', async (t) => {
  for (const [words, fault] of [
    [[], 'usage: sallyport [options] [command]; --help lists the commands'],
    [['nonsense'], "unknown command 'nonsense'; usage: sallyport [options] [command]"],
    [['keys'], 'usage: sallyport keys [options] [command]; --help lists the commands'],
    [['keys', 'lost'], "unknown command 'lost' (Did you mean list?); usage: sallyport keys [options] [command]"],
    [['keys', 'env', '--what'], "unknown option '--what'; usage: sallyport keys env [options]"],
    [
      ['keys', 'env', 'x'],
      "too many arguments for 'env'. Expected 0 arguments but got 1; usage: sallyport keys env [options]",
    ],
  ] as const) {
    t.strictSame(await takeOutput([...words]), { code: 1, output: '', errors: `sallyport: ${fault}\n` })
    const { code, output, errors } = await takeOutput([...words, '--json'])
    t.strictSame({ code, output }, { code: 1, output: '' })
    t.match(JSON.parse(errors), { error: /usage: sallyport / })
  }
})

t.test('help is the answer, and no failure', async (t) => {
  for (const words of [['--help'], ['users', '--help'], ['users', 'list', '--help']])
    t.match(await takeOutput(words), { code: 0, errors: '', output: /^Usage: sallyport / })
})

t.test('settings that are wrong are a line each', async (t) => {
  const { code, errors } = await takeOutput(['users', 'list'], { DATABASE_URL: 'x', DATABASE_WAIT: 'y' })
  t.equal(code, 1)
  t.match(errors, /^sallyport: DATABASE_URL [^\n]+\nsallyport: DATABASE_WAIT [^\n]+\n$/)
})

t.test('what a terminal would obey is shown', async (t) => {
  t.equal(
    printable('a\u001b[31mb\nc\u009bd\u2028e\u202ef\u007f'),
    'a\\u001b[31mb\\u000ac\\u009bd\\u2028e\\u202ef\\u007f',
  )
  for (const name of ['Zoë', '李雷', 'עברית', 'a\u200db', '👩‍⚕️', 'a\\b'])
    t.equal(printable(name), name, 'and what is a name stays one')
  const value = { name: '\u001b\u0085\u202e' }
  t.strictSame(JSON.parse(printable(JSON.stringify(value))), value, 'in JSON it stays the same value')
  t.strictSame(
    tableOf([
      ['name', 'x'],
      ['\n', 'y'],
    ]),
    ['name    x', '\\u000a  y'],
  )
  t.strictSame(tableOf([]), [])
})
