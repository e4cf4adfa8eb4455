import { readFileSync } from 'node:fs'
import type { Random } from './random.ts'

/** What parsers differ in. All texts here are latin1: a character is a byte. */
const odd = [
  ...['\r', '\n', '\r\n', '\n\n', '\r\n\r\n', '\r\n ', '\r\n\t', '\0', '\t', ' ', '  ', '\x01', '\x0b', '\x0c', '\x7f'],
  ...['\x80', '\xa0', '\xff', ':', ';', ',', '"', '_', '-', '+', '/', '?', '#', '%', '\\', '0', '1', '9', 'a', 'x'],
]

const lines = [
  ...['Content-Length: 0', 'Content-Length: 3', 'Content-Length: 5', 'Content-Length: +3', 'Content-Length: 03'],
  ...['Content-Length: 3, 3', 'Content-Length: 0x3', 'Content-Length: -1', 'Content-Length:', 'Content-Length : 3'],
  ...['Content-Length: 99999999999999999999', 'Content_Length: 3', 'content-length: 3\t', 'Content-Length: 3 3'],
  ...['Transfer-Encoding: chunked', 'transfer-encoding: Chunked', 'Transfer-Encoding: gzip, chunked'],
  ...['Transfer-Encoding : chunked', 'Transfer-Encoding: identity', 'Transfer-Encoding: chunked, chunked'],
  ...['Transfer-Encoding:\tchunked', 'Transfer-Encoding: "chunked"', 'Transfer-Encoding: chunked;q=1'],
  ...['Connection: close', 'Connection: keep-alive', 'Connection: Keep-Alive', 'Connection: x-hop, close'],
  ...['Connection: content-security-policy', 'Connection: Upgrade', 'Upgrade: h2c', 'Upgrade: websocket'],
  ...['Expect: 100-continue', 'Expect: x', 'TE: trailers', 'Trailer: x-sum', 'Keep-Alive: timeout=1'],
  ...['Host: other', 'host: g', 'Proxy-Connection: close', 'Set-Cookie: a=b', ' folded', '\tfolded', ': nameless'],
  ...[
    'X A: b',
    'X-A',
    'X-A: \xff',
    'X-A:b',
    'X-A:   b   ',
    'X-A : b',
    'X-A: "b',
    'X_A: b',
    'Via: 1.0 x',
    'Date: never',
  ],
]

/** One to four small changes of the kinds by which one message is read as another. */
export function mutate(random: Random, text: string): string {
  let changed = text
  for (let count = random.upTo(5); count > 0; count--) changed = changeOnce(random, changed)
  return changed
}

function changeOnce(random: Random, text: string): string {
  const at = random.below(text.length + 1)
  const replace = (length: number, by: string) => text.slice(0, at) + by + text.slice(at + length)
  switch (random.below(12)) {
    case 0:
    case 1:
      return replace(0, random.pick(odd))
    case 2:
      return replace(1, random.pick(odd))
    case 3:
      return replace(random.upTo(20), '')
    case 4:
      return replace(0, text.slice(at, at + random.upTo(60)))
    case 5:
      return replace(1, String.fromCharCode(random.below(256)))
    case 6:
    case 7:
      return withLine(random, text, random.pick(lines))
    case 8:
      return withLine(random, text, random.pick(text.split('\r\n')))
    case 9:
      return otherNumber(random, text)
    case 10:
      return otherCase(random, text, at)
    default:
      // Long runs are rare: they cost what they are to find.
      return random.chance(0.1) ? replace(0, random.pick(odd).repeat(random.upTo(8_000))) : replace(0, random.pick(odd))
  }
}

/** Puts a line between two others. */
function withLine(random: Random, text: string, line: string): string {
  const parts = text.split('\r\n')
  parts.splice(1 + random.below(Math.max(1, parts.length - 1)), 0, line)
  return parts.join('\r\n')
}

function otherNumber(random: Random, text: string): string {
  const numbers = [...text.matchAll(/\d+/g)]
  if (numbers.length === 0) return text
  const { 0: digits, index } = random.pick(numbers)
  const value = Number(digits)
  const other = random.pick([value + 1, value - 1, value * 10, 0, 65_536, 2 ** 31, 2 ** 32 + value, `0${digits}`, ''])
  return text.slice(0, index) + other + text.slice(index + digits.length)
}

function otherCase(random: Random, text: string, at: number): string {
  const end = at + random.upTo(12)
  const part = text.slice(at, end)
  const other = part === part.toLowerCase() ? part.toUpperCase() : part.toLowerCase()
  return text.slice(0, at) + other + text.slice(end)
}

/** Requests of everyday clients. */
export const requestSeeds = [
  'GET / HTTP/1.1\r\nHost: g\r\n\r\n',
  'GET /api/items?page=2&sort=-date HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n',
  'GET /a HTTP/1.1\r\nHost: g:80\r\nConnection: keep-alive\r\nCookie: a=b; c="d"\r\nIf-None-Match: W/"1"\r\nX-User-Id: 1\r\n\r\n',
  'HEAD /a HTTP/1.1\r\nHost: [::1]:5000\r\nAccept:\r\n\r\n',
  'POST /a?b=c HTTP/1.1\r\nHost: g\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"a":"b"}',
  'PUT /a HTTP/1.1\r\nhost: g\r\ncontent-length: 3\r\nauthorization: Bearer x.y.z\r\n\r\n\r\n\r',
  'DELETE /a HTTP/1.1\r\nHost: g\r\nContent-Length: 0\r\n\r\nGET /next HTTP/1.1\r\nHost: g\r\n\r\n',
  'PATCH /a HTTP/1.1\r\nHost: g\r\nContent-Length: 42\r\n\r\nGET /behind HTTP/1.1\r\nHost: g\r\nX-B: nested',
  'OPTIONS /a HTTP/1.1\r\nHost: g\r\nOrigin: https://app.test\r\n\r\n',
  'OPTIONS /a HTTP/1.1\r\nHost: g\r\nOrigin: https://app.test\r\nAccess-Control-Request-Method: PUT\r\n\r\n',
  'POST /a HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
  'POST /a HTTP/1.1\r\nHost: g\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok',
  'GET /a HTTP/1.0\r\nHost: g\r\nConnection: keep-alive\r\n\r\n',
]

/** Responses of everyday upstreams, with the method of what they respond to. */
export const responseSeeds: [method: string, text: string][] = [
  ['GET', 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"ok":true}'],
  ['GET', 'HTTP/1.1 200 OK\r\nServer: x\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n'],
  ['GET', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n'],
  [
    'GET',
    'HTTP/1.1 200 OK\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n2;c="d e"\r\nde\r\n0\r\nX-Sum: 42\r\nX-More: \r\n\r\n',
  ],
  ['GET', 'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end'],
  ['GET', 'HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 4\r\n\r\ngone'],
  ['GET', 'HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok'],
  ['GET', 'HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok'],
  ['GET', 'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nContent-Length: 9\r\n\r\n'],
  ['DELETE', 'HTTP/1.1 204 No Content\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n'],
  ['HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n'],
  ['HEAD', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'],
  [
    'GET',
    'HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\nx',
  ],
  ['POST', 'HTTP/1.1 413 \r\nKeep-Alive: timeout=5\r\nContent-Length: 3\r\n\r\nbig'],
  ['GET', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond'],
]

/** The requests of http_desync.json in the folder that VECTORS_DIR names, if it does. */
export function corpus(): string[] {
  const folder = process.env.VECTORS_DIR
  if (folder === undefined) return []
  const { cases } = JSON.parse(readFileSync(`${folder}/http_desync.json`, 'utf8')) as { cases: { raw_b64: string }[] }
  return cases.map(({ raw_b64: encoded }) => Buffer.from(encoded, 'base64').toString('latin1'))
}

/** The same message, or rather several, made smaller in every way that keeps it a text; largest cuts first. */
export function* smallerTexts(text: string): Generator<string> {
  const parts = text.split('\r\n')
  if (parts.length > 1)
    for (let at = 0; at < parts.length; at++) yield [...parts.slice(0, at), ...parts.slice(at + 1)].join('\r\n')
  for (let size = text.length >> 1; size >= 1; size >>= 1)
    for (let at = 0; at + size <= text.length; at += size) yield text.slice(0, at) + text.slice(at + size)
}
