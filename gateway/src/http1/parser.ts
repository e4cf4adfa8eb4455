import { host as hostForm } from '../connections/message.ts'
import { endOfHead, longestHead, readHeaderLines } from './header-lines.ts'
import { lowerCase } from './header-names.ts'

/** A request that is eligible for the fast path. */
export interface ParsedRequest {
  method: string
  url: string
  /** Names as sent and values, in a flat list. */
  rawHeaders: string[]
  /** The names in lower case, in the same order, none of them repeated. */
  names: string[]
  /** In latin1. */
  body: string
  /** Bytes of the piece that are this request's. */
  length: number
}

const requestLine = /(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (\/[\x21-\x7e]*) HTTP\/1\.1\r\n/y

/** The most header lines, and bytes of a body, that an eligible request has. */
const mostLines = 100
const longestBody = 65_536

/** Headers that ask for more than one response to one request: another framing, protocol or order of events. */
const ineligible = new Set([
  'transfer-encoding',
  'te',
  'trailer',
  'expect',
  'upgrade',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
])

/**
 * Parses a request if it is eligible for the fast path: HTTP/1.1, one spelling of everything, each header once, a body of
 * a length that is known ahead. Every server reads such a request the same.
 *
 * @returns `incomplete` if what came begins one, as far as a first line tells, and the rest of it is still to come;
 *   `ineligible` for any other, valid or not
 */
export function parseRequest(piece: Buffer): ParsedRequest | 'incomplete' | 'ineligible' {
  const text = piece.toString('latin1', 0, longestHead)
  requestLine.lastIndex = 0
  const [, method, url] = requestLine.exec(text) ?? []
  if (method === undefined) return 'ineligible'
  const end = endOfHead(text)
  if (end === -1) return piece.length < longestHead ? 'incomplete' : 'ineligible'
  // Servers differ in where they let a tab pass for a space.
  if (text.slice(0, end).includes('\t')) return 'ineligible'
  const rawHeaders = readHeaderLines(text, requestLine.lastIndex)
  if (!rawHeaders || rawHeaders.length > 2 * mostLines) return 'ineligible'

  const names: string[] = []
  let bodyLength = 0
  let host: string | undefined
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = lowerCase(rawHeaders[at] as string)
    const value = rawHeaders[at + 1] as string
    if (ineligible.has(name) || names.includes(name)) return 'ineligible'
    if (name === 'connection' && value !== 'keep-alive' && value !== 'Keep-Alive') return 'ineligible'
    if (name === 'host') host = value
    if (name === 'content-length') {
      if (!/^(0|[1-9]\d{0,4})$/.test(value)) return 'ineligible'
      bodyLength = Number(value)
    }
    names.push(name)
  }
  if (host === undefined || !hostForm.test(host)) return 'ineligible'
  if (bodyLength > longestBody || (bodyLength > 0 && (method === 'GET' || method === 'HEAD'))) return 'ineligible'
  const length = end + bodyLength
  if (length > piece.length) return 'incomplete'
  return {
    method,
    url: url as string,
    rawHeaders,
    names,
    body: bodyLength === 0 ? '' : piece.toString('latin1', end, length),
    length,
  }
}
