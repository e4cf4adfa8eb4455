import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../..', import.meta.url))

/** The first block of code in some language in a document, or in a section of it, as it stands there. */
export function exampleOf(document: string, language: string, heading?: string): string {
  const text = readFileSync(join(root, document), 'utf8')
  const section = heading === undefined ? text : text.split(`\n## ${heading}\n`)[1]?.split('\n## ')[0]
  const code = section?.split(`\`\`\`${language}\n`)[1]?.split('```')[0]
  if (code === undefined) throw new Error(`there is no ${language} in ${document} ${heading ?? ''}`)
  return code
}
