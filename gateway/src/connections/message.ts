import type { IncomingMessage } from 'node:http'
import { Problem } from '@sallyport/chassis'
import { countLimit } from '../limits.ts'

/** The most lines a header may have. Node stops reading names at a thousand, and goes by those it did not read. */
const mostLines = 200

/** A host and a port (RFC 9110 section 7.2), without the characters that no name in use has. */
export const host = /^([\w.-]+|\[[\da-f:.]+\])(:\d{1,5})?$/i

/** Whether a header has more lines than are looked at. */
export const isTooLong = ({ rawHeaders }: IncomingMessage) => rawHeaders.length > 2 * mostLines

/** Node's types leave out that it says whether a request is for an upgrade. */
type Message = IncomingMessage & { upgrade?: boolean }

/**
 * What is wrong with a message that another server could read as another one, beyond what Node's parser refuses by itself
 * (two lengths, a length and chunks, broken lines): more than one host, a body coded in a way we do not undo, or a body
 * before an upgrade.
 *
 * @returns 400 MESSAGE_AMBIGUOUS, 417 EXPECTATION_FAILED or 431 HEADER_TOO_LARGE; the connection is to be closed with it,
 * since where the next message begins is ambiguous
 */
export function faultOf(message: Message): Problem | undefined {
  const { method, rawHeaders, headers, httpVersion, httpVersionMinor, upgrade } = message
  // Node takes a request line without a version for one of HTTP/0.9, which has no headers.
  if (!/^1\.[01]$/.test(httpVersion))
    return refused(400, 'MESSAGE_AMBIGUOUS', 'The message must be of HTTP/1.1 or HTTP/1.0')
  if (isTooLong(message)) {
    countLimit('header_lines')
    return refused(431, 'HEADER_TOO_LARGE', 'The header has too many lines')
  }
  let hosts = 0
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string
    if (name.length === 4 && name.toLowerCase() === 'host') hosts += 1
  }
  if (hosts !== 1 || !host.test(headers.host as string))
    return refused(400, 'MESSAGE_AMBIGUOUS', 'There must be one Host header, with a name and a port at most')
  const coding = headers['transfer-encoding']
  if (coding !== undefined && (coding.toLowerCase() !== 'chunked' || httpVersionMinor === 0))
    return refused(400, 'MESSAGE_AMBIGUOUS', 'The body must be chunked or of a known length')
  if (httpVersionMinor === 1 && headers.expect !== undefined && headers.expect.toLowerCase() !== '100-continue')
    return refused(417, 'EXPECTATION_FAILED', 'Only 100-continue can be expected')
  const hasBody = coding !== undefined || headers['content-length'] !== undefined
  return upgrade && method !== 'CONNECT' && (method !== 'GET' || hasBody)
    ? refused(400, 'MESSAGE_AMBIGUOUS', 'An upgrade is asked for by a GET without a body')
    : undefined
}

function refused(status: number, code: string, title: string): Problem {
  return new Problem(status, code, title, { headers: { connection: 'close' } })
}
