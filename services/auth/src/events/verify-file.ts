import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import type { ChainedEvent, Head } from './chain.ts'
import { createVerifier, type Fault, remembered, type Verified, type Verifier } from './verify.ts'

/**
 * Verifies files of lines as AUDIT_LOG and `sallyport events export` write them, one after the other as if they were one.
 * Nothing else is needed for it.
 *
 * @throws what the system says of a file that cannot be read
 */
export async function verifyFiles(
  files: readonly string[],
  heads: readonly Head[],
  onFault: (fault: Fault) => void,
): Promise<Verified> {
  const verifier = createVerifier(undefined, heads, onFault)
  for (const file of files) await verifyFile(file, verifier)
  return verifier.finish()
}

/** A line that a crash cut off is there again, whole, among those that follow it. */
async function verifyFile(file: string, verifier: Verifier): Promise<void> {
  let cut: { text: string; number: number } | undefined
  let number = 0
  const report = (line: number) =>
    verifier.report(verifier.last?.position ?? null, 'unreadable', `line ${line} of ${file} is none of an audit log`)

  for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Number.POSITIVE_INFINITY })) {
    number += 1
    if (cut && line.startsWith(cut.text)) cut = undefined
    if (cut && number - cut.number > remembered) {
      report(cut.number)
      cut = undefined
    }
    const entry = readLine(line)
    if (entry) verifier.add(entry)
    else {
      if (cut) report(cut.number)
      cut = { text: line, number }
    }
  }
  if (cut) report(cut.number)
}

/** @returns undefined for what is no line of an audit log; whether it is a true one its hash says */
function readLine(line: string): ChainedEvent | undefined {
  try {
    const entry = JSON.parse(line)
    const { position, hash, commitments, reason } = entry
    const isEntry =
      Number.isSafeInteger(position) &&
      typeof hash === 'string' &&
      /^\d+$/.test(entry.id) &&
      typeof entry.event === 'string' &&
      (reason === null || typeof reason === 'string') &&
      isCommitment(commitments?.ip) &&
      isCommitment(commitments?.words) &&
      [entry.ip, entry.user].every((value) => value === null || typeof value === 'string')
    return isEntry ? entry : undefined
  } catch {
    return undefined
  }
}

const isCommitment = (value: unknown) =>
  value === undefined ||
  (typeof value === 'object' &&
    value !== null &&
    Object.values(value).length === 1 &&
    Object.entries(value).every(([name, hex]) => /^(salt|digest)$/.test(name) && /^[0-9a-f]*$/.test(hex)))
