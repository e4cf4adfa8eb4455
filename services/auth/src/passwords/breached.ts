import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'
import { ConfigurationError } from '@sallyport/chassis'

/*
 * A file of passwords that are known from data breaches: a line that says what it is, padded to the size of a block, and
 * blocks that are Bloom filters of their own. The first 32 bits of a password's SHA-1 choose its block, the other 128 are
 * the 8 bits that it sets there. A look-up reads one block, so a set of a billion needs no memory here.
 *
 * The packages for Bloom filters (bloom-filters, bloomfilter) work on one in memory, and none reads from a file. Xor and
 * binary fuse filters are smaller, but need all keys in memory to be made, and npm has no package of them that is kept up.
 */

/** Where a digest has the bits that it sets. */
const places = [4, 6, 8, 10, 12, 14, 16, 18]

/** As many as 16 bits can address. */
export const blockBytes = 8192

/** With 8 bits set for each entry, 22 make 1 in 13,000 passwords that are none of the set seem so: (1 - e^(-8/22))^8. */
const bitsPerEntry = 22

const headerFormat = /^sallyport-breached version=1 entries=\d+ blocks=(\d{1,9}) block-bytes=8192\n/

export interface Breached {
  /** Whether a password in NFC is in the set; 1 in 10,000 that are not seem so. */
  has(password: string): Promise<boolean>
  close(): Promise<void>
}

/**
 * Opens a set that `npm run breached` made. A file that takes its place is read from the next start on.
 *
 * @param file undefined opens nothing
 * @throws ConfigurationError if it cannot be read, is none, or is not all there
 */
export async function openBreached(file: string | undefined): Promise<Breached | undefined> {
  if (file === undefined) return undefined
  const refuse = (why: string, cause?: unknown) =>
    new ConfigurationError(
      `BREACHED_PASSWORDS names ${file}, which ${why}; make it with \`npm run breached -- build SOURCE FILE\`, or correct the path`,
      { cause },
    )
  const unreadable = (cause: unknown) => refuse('cannot be read', cause)
  const handle = await open(file).catch((error) => {
    throw unreadable(error)
  })

  async function readBlock(index: number): Promise<Buffer> {
    const block = Buffer.alloc(blockBytes)
    const { bytesRead } = await handle.read(block, 0, blockBytes, index * blockBytes)
    return block.subarray(0, bytesRead)
  }

  async function countBlocks(): Promise<number> {
    const header = await readBlock(0).catch((error) => {
      throw unreadable(error)
    })
    const blocks = Number(headerFormat.exec(header.toString('latin1'))?.[1])
    if (!(blocks > 0)) throw refuse('is no set of breached passwords of this version')
    if ((await handle.stat()).size !== (blocks + 1) * blockBytes) throw refuse('is not all there')
    return blocks
  }

  try {
    const blocks = await countBlocks()
    return {
      async has(password) {
        const digest = digestOf(password)
        const block = await readBlock(1 + blockOf(digest, blocks))
        if (block.length < blockBytes) throw new Error(`${file} was cut while it is in use`)
        return isIn(block, digest)
      },
      close: () => handle.close(),
    }
  } catch (error) {
    await handle.close()
    throw error
  }
}

export const blocksFor = (entries: number) => Math.ceil((entries * bitsPerEntry) / (8 * blockBytes))

/** The first block of a file. */
export function headerOf(entries: number, blocks: number): Buffer {
  const header = Buffer.alloc(blockBytes)
  header.write(`sallyport-breached version=1 entries=${entries} blocks=${blocks} block-bytes=${blockBytes}\n`)
  return header
}

/** SHA-1, since the sets that can be downloaded hold nothing else; it protects nothing here. */
export const digestOf = (password: string) => createHash('sha1').update(password).digest()

/** Digests in their order have blocks in theirs, so that a sorted source is quick to add. */
export const blockOf = (digest: Buffer, blocks: number) => Math.floor((digest.readUInt32BE(0) / 2 ** 32) * blocks)

export function addTo(block: Buffer, digest: Buffer): void {
  for (const at of places) {
    const bit = digest.readUInt16BE(at)
    block[bit >> 3] = (block[bit >> 3] as number) | (1 << (bit & 7))
  }
}

export const isIn = (block: Buffer, digest: Buffer) =>
  places.every((at) => {
    const bit = digest.readUInt16BE(at)
    return ((block[bit >> 3] as number) & (1 << (bit & 7))) !== 0
  })
