// The commands of a document, word for word, and what it says of the responses. By itself: the journey in curl of
// docs/getting-started.md in the present folder, against whatever answers at the address that it names.
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'

/** A section of a document, by its heading. */
export function sectionOf(document, heading) {
  const text = readFileSync(new URL(`../${document}`, import.meta.url), 'utf8')
  const [, section] = text.split(`\n## ${heading}\n`)
  if (section === undefined) throw new Error(`${document} has no section "${heading}"`)
  return section.split('\n## ')[0]
}

/** The shell blocks of a section, each with the prose that follows it. */
export function blocksOf(document, heading) {
  const blocks = sectionOf(document, heading).matchAll(/```sh\n([\s\S]*?)```\n([\s\S]*?)(?=```|$)/g)
  return [...blocks].map(([, command, prose]) => ({ command, prose }))
}

/** What a piece of prose in backticks says a response holds: JSON members, statuses at its beginning, header names. */
function promisesOf(prose) {
  const [first = ''] = prose.trim().split('\n\n')
  if (!/^\d{3}:/.test(first)) return []
  // What follows the first sentence may be about another response.
  const quoted = [...first.split(/\.\s/)[0].matchAll(/`([^`]+)`/g)].map(([, words]) => words)
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

/** @throws if a response is not what the document says */
export async function play(cwd, document, blocks) {
  const { type, close } = openShell(cwd)
  try {
    for (const { command, prose } of blocks) {
      const output = await type(command)
      for (const promise of promisesOf(prose))
        if (!output.includes(promise)) throw new Error(`${document} promises ${promise}; the response was:\n${output}`)
    }
  } finally {
    close()
  }
}

/** @throws if a response is not what docs/getting-started.md says */
export const playJourney = (cwd) =>
  play(cwd, 'docs/getting-started.md', blocksOf('docs/getting-started.md', 'The journey in curl'))

if (process.argv[1] === import.meta.filename) await playJourney(process.cwd())
