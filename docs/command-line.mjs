// Makes the tables of docs/command-line.md from the program, and leaves the prose before them alone:
//
//   npm run docs:command-line
//
// With --check it writes nothing, and exits with 1 if the document is stale.
import { readFileSync, writeFileSync } from 'node:fs'
import { createProgram } from '../cli/dist/program.js'

const program = await createProgram({ env: {}, say() {}, warn() {}, stdin: process.stdin })

const leavesOf = (command) => (command.commands.length === 0 ? [command] : command.commands.flatMap(leavesOf))

/** Every command takes --json, which stands in the prose. */
function rowOf(command) {
  const help = command.createHelp()
  const words = help.commandUsage(command).replace(' [options]', '').replace('sallyport ', '')
  const options = help
    .visibleOptions(command)
    .filter(({ long }) => !['--json', '--help'].includes(long))
    .map((option) => `\`${option.flags}\`: ${option.description}`)
  const cells = [`\`${words}\``, linked(command.description()), options.join('<br>')]
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
}

const linked = (text) => text.replace(/docs\/([\w-]+\.md)/g, '[$1]($1)')

const sections = program.commands.map((group) => {
  const [first, ...rest] = linked(group.description())
  return [
    ...[`## ${group.name()}`, ''],
    ...(group.commands.length === 0 ? [] : [`${first.toUpperCase()}${rest.join('')}.`, '']),
    ...['| command | does | options |', '| --- | --- | --- |', ...leavesOf(group).map(rowOf), ''],
  ].join('\n')
})

const document = new URL('command-line.md', import.meta.url)
const before = readFileSync(document, 'utf8')
const marker = '<!-- what follows: npm run docs:command-line -->\n'
const [prose] = before.split(marker)
const after = `${prose}${marker}\n${sections.join('\n')}`

if (!process.argv.includes('--check')) writeFileSync(document, after)
else if (after !== before) {
  process.stderr.write('docs/command-line.md is stale; run npm run docs:command-line\n')
  process.exitCode = 1
}
