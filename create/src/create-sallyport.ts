import { relative, resolve } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { createProject } from './create-project.ts'
import { applies, type Choices, check, questions, readOptions } from './options.ts'

/** Asks what was not said: once each, of somebody who is there to answer. */
async function ask(given: Partial<Choices>, isAsked: boolean): Promise<Choices> {
  const terminal = isAsked ? createInterface({ input: process.stdin, output: process.stdout }) : undefined
  const choices: Partial<Choices> = { ...given }
  try {
    for (const [key, { text, usual }] of Object.entries(questions)) {
      const name = key as keyof Choices
      if (choices[name] !== undefined) continue
      const answer = applies(name, choices) ? (await terminal?.question(`${text} (${usual}): `))?.trim() : undefined
      if (answer) check(name, answer)
      Object.assign(choices, { [name]: answer || usual })
    }
    return choices as Choices
  } finally {
    terminal?.close()
  }
}

try {
  const { folder, choices, yes, packages } = readOptions(process.argv.slice(2))
  const isAsked = !yes && process.stdin.isTTY === true && process.stdout.isTTY === true
  const path = resolve(folder)
  await createProject(path, () => ask(choices, isAsked), packages)
  process.stdout.write(`
${path} is made. It starts with

  cd ${relative('.', path) || '.'}
  npm install
  npm start
`)
} catch (error) {
  process.stderr.write(`create-sallyport: ${(error as Error).message}\n`)
  process.exitCode = 1
}
