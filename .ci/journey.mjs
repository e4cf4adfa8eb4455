// The journey in curl of README.md, word for word, and what it says of the answers. By itself: in the present folder,
// against whatever answers at the address that the README names.
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'

const text = readFileSync(new URL('../README.md', import.meta.url), 'utf8')

/** The shell blocks of a section, each with the prose that follows it. */
export function blocksOf(section) {
  const body = text.split(`\n## ${section}\n`)[1].split('\n## ')[0]
  return [...body.matchAll(/```sh\n([\s\S]*?)```\n([\s\S]*?)(?=```|$)/g)].map(([, command, prose]) => ({
    command,
    prose,
  }))
}

/** What a piece of prose in backticks says an answer holds: JSON members, statuses at its beginning, header names. */
function promisesOf(prose) {
  const [first = ''] = prose.trim().split('\n\n')
  if (!/^\d{3}:/.test(first)) return []
  const quoted = [...first.matchAll(/`([^`]+)`/g)].map(([, words]) => words)
  return quoted.map((words) => words.replace('[...]}', '[').replace(/"\.\.\."/g, '"'))
}

/** One shell for block after block, as a reader has it. Resolves with what the block printed. */
function openShell(cwd) {
  const shell = spawn('bash', [], { cwd, detached: true })
  shell.stdout.setEncoding('utf8')
  const mark = '--- the block is done ---\n'
  const type = (command) => {
    process.stdout.write(`$ ${command.trim().replaceAll('\n', '\n  ')}\n`)
    return new Promise((resolve) => {
      let output = ''
      const take = (chunk) => {
        output += chunk
        if (!output.endsWith(mark)) return
        shell.stdout.off('data', take)
        resolve(output.slice(0, -mark.length))
      }
      shell.stdout.on('data', take)
      shell.stdin.write(`${command}\nprintf '%s' '${mark}'\n`)
    })
  }
  return { type, close: () => shell.stdin.end() }
}

/** @throws if an answer is not what the README says */
export async function playJourney(cwd) {
  const { type, close } = openShell(cwd)
  try {
    for (const { command, prose } of blocksOf('The journey in curl')) {
      const output = await type(command)
      for (const promise of promisesOf(prose))
        if (!output.includes(promise)) throw new Error(`The README promises ${promise}; the answer was:\n${output}`)
    }
  } finally {
    close()
  }
}

if (process.argv[1] === import.meta.filename) await playJourney(process.cwd())
