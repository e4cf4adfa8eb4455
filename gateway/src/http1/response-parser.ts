import { countLimit } from '../limits.ts'
import { Malformed } from './chunked.ts'
import { longestHead } from './header-lines.ts'
import { lowerCase } from './header-names.ts'

/** The most lines of a header that an upstream may send. */
const mostLines = 200

const statusLine = /HTTP\/1\.([01]) ([1-9]\d\d)(?: ([\t\x20-\x7e\x80-\xff]*))?\r\n/y

/**
 * One line of a header. Unlike in a request, space before the colon is removed (RFC 9112 section 5.1). Where white space
 * ends is settled by looking ahead, so that no line can be tried in more than one way.
 */
const headerLine = /([\w!#$%&'*+\-.^`|~]+)[\t ]*:[\t ]*(?![\t ])([\t\x20-\x7e\x80-\xff]*)\r\n/y

/** Fields that say how a body ends. */
export const framing = /^(content-length|transfer-encoding)$/i

const emptyLine = Buffer.from('\r\n\r\n')

/** The beginning of a response, or an informational one ahead of it. */
export interface ResponseHead {
  status: number
  statusText: string
  /** Names as sent and values, in a flat list; with at most one Content-Length, and none where there is no body. */
  headers: string[]
  /** What Content-Length says. */
  length: number | undefined
  isChunked: boolean
  /** Whether the connection can take another request after this response. */
  isKept: boolean
  /** Milliseconds for which the upstream keeps an idle connection open, if it says so (`Keep-Alive: timeout=`). */
  keepAlive: number | undefined
}

/**
 * Reads the head of an upstream's response. Two things that a proxy may correct in a response, it does: space before a
 * colon, and one length that is repeated (RFC 9112 sections 5.1 and 6.3).
 *
 * @param text in latin1, with the empty line that ends it
 * @returns undefined if there is more than one way to read it
 */
export function parseResponseHead(text: string): ResponseHead | undefined {
  statusLine.lastIndex = 0
  const [line, minor, digits, statusText = ''] = statusLine.exec(text) ?? []
  if (line === undefined) return undefined
  const headers = readLines(text, line.length)
  if (!headers) return undefined
  const isOnePointOne = minor === '1'
  const head: ResponseHead = {
    status: Number(digits),
    statusText,
    headers,
    length: undefined,
    isChunked: false,
    isKept: isOnePointOne,
    keepAlive: undefined,
  }
  let length: string | undefined
  let lengths = 0
  let codings = 0
  for (let at = 0; at < headers.length; at += 2) {
    const name = lowerCase(headers[at] as string)
    const value = headers[at + 1] as string
    if (name === 'content-length') {
      const said = readLength(value)
      if (said === undefined || (length !== undefined && length !== said)) return undefined
      lengths += value.includes(',') ? 2 : 1
      length = said
    } else if (name === 'transfer-encoding') {
      if (codings++ > 0 || value.toLowerCase() !== 'chunked') return undefined
      head.isChunked = true
    } else if (name === 'connection' || name === 'proxy-connection')
      head.isKept &&= !/(^|,)\s*close\s*(,|$)/i.test(value)
    else if (name === 'keep-alive') head.keepAlive = readTimeout(value)
  }
  if (head.isChunked && (lengths > 0 || !isOnePointOne)) return undefined
  // There was nothing ahead of a response before HTTP/1.1.
  if (head.status < 200 && !isOnePointOne) return undefined
  if (length !== undefined) head.length = Number(length)
  if (head.status < 200 || head.status === 204) withoutBody(head)
  else if (lengths > 1) setLength(head, length)
  return head
}

/** @returns undefined unless every line up to the empty one has just one reading */
function readLines(text: string, start: number): string[] | undefined {
  const headers: string[] = []
  let end = start
  headerLine.lastIndex = start
  for (let line = headerLine.exec(text); line; line = headerLine.exec(text)) {
    if (headers.length === 2 * mostLines) {
      countLimit('response_header')
      return undefined
    }
    // Servers differ in where they let a tab pass for a space, which is not to change where a body ends.
    if (line[0].includes('\t') && framing.test(line[1] as string)) return undefined
    headers.push(line[1] as string, withoutSpaceAtEnd(line[2] as string))
    end = headerLine.lastIndex
  }
  return text.startsWith('\r\n', end) ? headers : undefined
}

/** Space and tab alone: what else counts as white space elsewhere is part of a value. */
function withoutSpaceAtEnd(value: string): string {
  let end = value.length
  while (end > 0 && (value.charCodeAt(end - 1) === 0x20 || value.charCodeAt(end - 1) === 0x09)) end -= 1
  return end === value.length ? value : value.slice(0, end)
}

/** One length, or a list that repeats it in the same digits. */
function readLength(value: string): string | undefined {
  return /^(\d{1,15})(?:[\t ]*,[\t ]*\1)*$/.exec(value)?.[1]
}

function readTimeout(value: string): number | undefined {
  const [, seconds] = /(?:^|[\s,;])timeout=(\d{1,9})/i.exec(value) ?? []
  return seconds === undefined ? undefined : Number(seconds) * 1_000
}

/** Such a response ends with its head (RFC 9112 section 6.3). What follows it all the same is no response. */
function withoutBody(head: ResponseHead): void {
  if (head.isChunked || (head.length ?? 0) > 0) head.isKept = false
  if (head.length !== undefined) setLength(head, undefined)
  head.length = undefined
  head.isChunked = false
}

/** Leaves the first Content-Length in place of all, or none. */
function setLength(head: ResponseHead, value: string | undefined): void {
  const headers: string[] = []
  let isSet = value === undefined
  for (let at = 0; at < head.headers.length; at += 2) {
    const name = head.headers[at] as string
    const isLength = lowerCase(name) === 'content-length'
    if (isLength && isSet) continue
    headers.push(name, isLength ? (value as string) : (head.headers[at + 1] as string))
    isSet ||= isLength
  }
  head.headers = headers
}

/** Whether CR or LF stands without the other, looked for from an offset on; the last byte may still get its LF. */
function hasBareEnding(bytes: Buffer, from: number): boolean {
  for (let at = from; at < bytes.length; at++) {
    const isAfterCr = at > 0 && bytes[at - 1] === 0x0d
    if (isAfterCr !== (bytes[at] === 0x0a)) return true
  }
  return false
}

/** Collects a head that may be received in pieces, and looks at each byte of it once. */
export class HeadCollector {
  /** In latin1, once it is complete. */
  text = ''
  #held: Buffer | undefined
  #size = 0

  /**
   * @param at where in the piece the head begins, or goes on
   * @returns where in the piece it ends; undefined if it goes on
   * @throws Malformed if it is too long, or a line of it does not end in CR LF
   */
  take(piece: Buffer, at: number): number | undefined {
    if (!this.#held) {
      const end = piece.indexOf(emptyLine, at)
      if (end !== -1 && end + 4 - at <= longestHead) {
        this.text = piece.toString('latin1', at, end + 4)
        return end + 4
      }
      if (end !== -1) throw tooLong()
    }
    return this.#hold(piece, at)
  }

  #hold(piece: Buffer, at: number): number | undefined {
    this.#held ??= Buffer.allocUnsafe(longestHead)
    const before = this.#size
    this.#size += piece.copy(this.#held, before, at)
    const end = this.#held.subarray(0, this.#size).indexOf(emptyLine, Math.max(0, before - 3))
    if (end === -1) {
      if (this.#size === longestHead) throw tooLong()
      // Its end would be waited for in vain.
      if (hasBareEnding(this.#held.subarray(0, this.#size), before))
        throw new Malformed('the response is not valid HTTP: a line of its head does not end in CR LF')
      return undefined
    }
    this.text = this.#held.toString('latin1', 0, end + 4)
    this.#held = undefined
    this.#size = 0
    return at + end + 4 - before
  }
}

function tooLong(): Malformed {
  countLimit('response_header')
  return new Malformed('the response is not valid HTTP: its head is too long')
}
