/** A response as a client reads it that lets nothing pass. Texts are latin1. */
export interface Response {
  status: number
  /** Names in lower case, and values, in a flat list. */
  headers: string[]
  body: string
  trailers: string[]
  /** False for one that broke off: the client can tell. */
  isComplete: boolean
  /** Statuses of the hints before it. */
  hints: number[]
}

export interface Reading {
  responses: Response[]
  /** What no HTTP server may send, in a few words and whole. */
  fault: string | undefined
}

/** In trailers these would say how to read, route or keep the message (RFC 9110 section 6.5.1), or are for the browser. */
const neverTrailers =
  /^(content-(length|encoding|type|range|security-policy)|transfer-encoding|host|trailer|te|connection|keep-alive|upgrade|authorization|www-authenticate|set-cookie|cookie|cache-control|expires|date|location|vary|expect|age|retry-after|max-forwards|access-control-.*)$/

const single = /^(content-length|transfer-encoding|connection)$/

/**
 * Reads all that came on a connection.
 *
 * @param methodOf of the request that the response of this number is for; undefined if there is none
 * @param isOver whether the server closed the connection
 */
export function readStrictly(bytes: string, methodOf: (at: number) => string | undefined, isOver: boolean): Reading {
  const responses: Response[] = []
  let rest = bytes
  let hints: number[] = []
  const wrong = (what: string): Reading => ({ responses, fault: `${what}: ${JSON.stringify(rest.slice(0, 300))}` })

  while (rest !== '') {
    const method = methodOf(responses.length)
    if (method === undefined) return wrong('more than was asked for')
    const end = rest.indexOf('\r\n\r\n')
    if (end === -1) {
      if (!/^(H(T(T(P(\/(1(\.(1( .*)?)?)?)?)?)?)?)?)/s.test(rest)) return wrong('an odd beginning')
      return { responses, fault: undefined }
    }
    const [first = '', ...lines] = rest.slice(0, end).split('\r\n')
    const [, digits] = /^HTTP\/1\.1 ([1-9]\d\d) [\t\x20-\x7e\x80-\xff]*$/.exec(first) ?? []
    if (digits === undefined) return wrong('an odd status line')
    const status = Number(digits)
    const headers = readLines(lines)
    if (!headers) return wrong('an odd header')
    const length = headers.get('content-length')
    const coding = headers.get('transfer-encoding')
    if (length !== undefined && coding !== undefined) return wrong('two lengths')
    const isBare = status < 200 || status === 204
    if (isBare && (length !== undefined || coding !== undefined)) return wrong('a length that may not be')
    if (coding !== undefined && coding !== 'chunked') return wrong('an odd coding')
    if (length !== undefined && !/^\d{1,15}$/.test(length)) return wrong('an odd length')
    if (status < 200 && status !== 101) {
      hints.push(status)
      rest = rest.slice(end + 4)
      continue
    }
    const response: Response = {
      status,
      headers: [...headers.list],
      body: '',
      trailers: [],
      isComplete: true,
      hints,
    }
    hints = []
    responses.push(response)
    rest = rest.slice(end + 4)
    if (status === 101) {
      response.body = rest
      return { responses, fault: undefined }
    }
    if (method === 'HEAD' || isBare || status === 304) {
      // Nothing follows.
    } else if (coding !== undefined) {
      const read = readChunks(rest)
      if (typeof read === 'string') return wrong(read)
      response.body = read.body
      response.trailers = read.trailers
      if (read.length === undefined) {
        response.isComplete = false
        return { responses, fault: undefined }
      }
      rest = rest.slice(read.length)
    } else if (length !== undefined) {
      response.body = rest.slice(0, Number(length))
      rest = rest.slice(response.body.length)
      if (response.body.length < Number(length)) {
        response.isComplete = false
        return { responses, fault: undefined }
      }
    } else {
      if (headers.get('connection')?.toLowerCase() !== 'close') return wrong('a body without end on a kept connection')
      response.body = rest
      response.isComplete = isOver
      return { responses, fault: undefined }
    }
    if (headers.get('connection')?.toLowerCase() === 'close' && rest !== '') return wrong('something after the last')
  }
  return { responses, fault: undefined }
}

function readLines(lines: string[]): { list: string[]; get(name: string): string | undefined } | undefined {
  const list: string[] = []
  const seen = new Map<string, string>()
  for (const line of lines) {
    const [, sent, value] = /^([\w!#$%&'*+.^`|~-]+): ?([\t\x20-\x7e\x80-\xff]*)$/.exec(line) ?? []
    if (sent === undefined || value === undefined) return undefined
    const name = sent.toLowerCase()
    if (seen.has(name) && single.test(name)) return undefined
    seen.set(name, value)
    list.push(name, value)
  }
  return { list, get: (name) => seen.get(name) }
}

/** @returns a text for what is wrong; no length if it goes on */
function readChunks(text: string): string | { body: string; trailers: string[]; length: number | undefined } {
  let body = ''
  let at = 0
  for (;;) {
    const [line, digits = ''] = /^([\da-f]{1,8})\r\n/.exec(text.slice(at, at + 12)) ?? []
    if (line === undefined) {
      const part = text.slice(at, at + 12)
      return /^[\da-f]{0,8}\r?$/.test(part) ? { body, trailers: [], length: undefined } : 'an odd chunk'
    }
    at += line.length
    const size = Number.parseInt(digits, 16)
    if (size === 0) break
    body += text.slice(at, at + size)
    at += size
    if (at + 2 > text.length) return { body, trailers: [], length: undefined }
    if (text.slice(at, at + 2) !== '\r\n') return 'an odd end of a chunk'
    at += 2
  }
  const end = text.startsWith('\r\n', at) ? at : text.indexOf('\r\n\r\n', at)
  if (end === -1) return { body, trailers: [], length: undefined }
  const trailers = end === at ? { list: [] } : readLines(text.slice(at, end).split('\r\n'))
  if (!trailers) return 'an odd trailer'
  const never = trailers.list.find((name, at) => at % 2 === 0 && neverTrailers.test(name))
  if (never !== undefined) return `a trailer that may not be: ${never}`
  return { body, trailers: trailers.list, length: end === at ? at + 2 : end + 4 }
}

/** A header by its name in lower case. */
export function headerOf(headers: string[], name: string): string | undefined {
  for (let at = 0; at < headers.length; at += 2) if (headers[at] === name) return headers[at + 1]
  return undefined
}
