import { createReadStream, createWriteStream } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { addTo, blockBytes, blockOf, blocksFor, digestOf, headerOf } from '@sallyport/auth/passwords/breached'
import { type Answer, answering } from './answer.ts'
import type { AddCommands } from './io.ts'

/** No line of a source is longer, in bytes; without an end a file of something else would be read into memory. */
const longestLine = 65_536

export const addBreached: AddCommands = (program, io) => {
  program
    .command('breached')
    .description('sets of passwords known from data breaches: docs/operations.md')
    .command('build')
    .description('make the file of BREACHED_PASSWORDS')
    .argument('<source>', 'a file with lines SHA1HEX or SHA1HEX:COUNT')
    .argument('<file>', 'to make, or to put in the place of an older one')
    .option('--plain', 'the source has a password on each line')
    .action(
      answering(io, async (source: string, file: string, { plain }: { plain?: boolean }): Promise<Answer> => {
        const passwords = await build(source, file, plain ? digestOfPlain : digestOfHash)
        return { value: { file, passwords }, lines: [`made ${file} of ${passwords} passwords`] }
      }),
    )
}

/** Reads the source twice, since its count decides how large the file gets; in memory there is as much of it as that. */
async function build(source: string, file: string, read: (line: Buffer) => Buffer | undefined): Promise<number> {
  let entries = 0
  await eachLine(source, () => {
    entries += 1
  })
  if (entries === 0) throw new Error(`${source} is empty`)
  const blocks = Array.from({ length: blocksFor(entries) }, () => Buffer.alloc(blockBytes))
  await eachLine(source, (line, number) => {
    const digest = read(line)
    if (!digest)
      throw new Error(`line ${number} of ${source} is neither SHA1HEX nor SHA1HEX:COUNT; for passwords add --plain`)
    addTo(blocks[blockOf(digest, blocks.length)] as Buffer, digest)
  })
  await write(file, [headerOf(entries, blocks.length)].concat(blocks))
  return entries
}

/** Whoever opens the file meanwhile sees the old set or the new one, and never half of it. */
async function write(file: string, blocks: Buffer[]): Promise<void> {
  const temporary = `${file}.${process.pid}`
  try {
    await pipeline(Readable.from(blocks), createWriteStream(temporary, { flush: true }))
    await rename(temporary, file)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}

/** Takes the lines that are not empty one after another, without their ends. */
async function eachLine(file: string, take: (line: Buffer, number: number) => void): Promise<void> {
  let rest = Buffer.alloc(0)
  let number = 0
  const next = (bytes: Buffer) => {
    number += 1
    const line = bytes.at(-1) === 0x0d ? bytes.subarray(0, -1) : bytes
    if (line.length > 0) take(line, number)
  }
  for await (const chunk of createReadStream(file, { highWaterMark: 1024 * 1024 })) {
    const bytes = Buffer.concat([rest, chunk])
    let start = 0
    for (let end = bytes.indexOf('\n'); end >= 0; end = bytes.indexOf('\n', start)) {
      next(bytes.subarray(start, end))
      start = end + 1
    }
    rest = bytes.subarray(start)
    if (rest.length > longestLine) throw new Error(`line ${number + 1} of ${file} is longer than a password can be`)
  }
  next(rest)
}

function digestOfHash(line: Buffer): Buffer | undefined {
  const hex = /^([0-9a-f]{40})(?::\d+)?$/i.exec(line.toString('latin1'))?.[1]
  return hex === undefined ? undefined : Buffer.from(hex, 'hex')
}

/** Passwords are compared in NFC. */
const digestOfPlain = (line: Buffer) => digestOf(line.toString().normalize('NFC'))
