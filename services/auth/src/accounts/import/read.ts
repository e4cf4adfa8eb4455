import { pipeline, Readable } from 'node:stream'
import { JSONParser } from '@streamparser/json'
import { parse } from 'csv-parse'
import type { Fields } from './person.ts'
import type { Source } from './sources.ts'

/** Characters of a row of CSV, all columns together: of a file whose quotes are wrong no more is held in memory. */
const longestRow = 1_000_000

/** Those whose export is an object with a list of users in it. */
const withList: Source[] = ['keycloak', 'firebase']

/**
 * The entries of an export, one after the other, with no more of it in memory than one: of a list in JSON, of objects in
 * lines of their own (NDJSON), of the list `users` of an object, or of CSV with the names of its columns in the first row.
 * Which it is, its first character says.
 *
 * @throws Error if the file is none of these, or ends in the middle
 */
export async function* readEntries(file: AsyncIterable<Buffer>, source: Source): AsyncGenerator<Fields> {
  const chunks = file[Symbol.asyncIterator]()
  let start = ''
  // No byte of a longer character is lost: only ASCII is looked for. A mark at the beginning has three bytes.
  const read: Buffer[] = []
  for (let chunk = await chunks.next(); !chunk.done; chunk = await chunks.next()) {
    read.push(chunk.value)
    start = Buffer.concat(read)
      .toString('latin1')
      .replace(/^\u00ef\u00bb\u00bf/, '')
      .trimStart()
    if (start.length > 3) break
  }
  const all = (async function* () {
    yield Buffer.from(start, 'latin1')
    yield* { [Symbol.asyncIterator]: () => chunks }
  })()
  const isJson = /^[[{]/.test(start) && source !== 'csv'
  yield* isJson ? readJson(all, pathOf(start, source)) : readCsv(all)
}

function pathOf(start: string, source: Source): string {
  if (start.startsWith('[')) return '$.*'
  return withList.includes(source) ? '$.users.*' : '$'
}

async function* readJson(file: AsyncIterable<Buffer>, path: string): AsyncGenerator<Fields> {
  // With a separator there may be several values, and the parser cannot say that one is not at its end.
  const isLines = path === '$'
  const parser = new JSONParser({ paths: [path], keepStack: false, ...(isLines && { separator: '' }) })
  let entries: Fields[] = []
  let count = 0
  parser.onValue = ({ value }) => {
    entries.push(value as unknown as Fields)
  }
  try {
    for await (const chunk of file) {
      parser.write(chunk)
      count += entries.length
      yield* entries
      entries = []
    }
    if (!parser.isEnded) parser.end()
  } catch (error) {
    throw new Error(`the file is no JSON after ${count} users: ${(error as Error).message.split('\n')[0]}`)
  }
}

async function* readCsv(file: AsyncIterable<Buffer>): AsyncGenerator<Fields> {
  const parser = parse({
    columns: true,
    skip_empty_lines: true,
    record_delimiter: ['\r\n', '\n'],
    max_record_size: longestRow,
  })
  // What goes wrong is thrown by whichever is read.
  pipeline(Readable.from(file), parser, () => {})
  yield* parser
}
