import { countLimit } from '../limits.ts'

/** A request target in the one form that is both matched against routes and forwarded. */
export interface Target {
  path: string
  /** With its `?`, or empty. */
  query: string
}

/** The most characters, and the most segments, that a path may have. */
const longest = 8_192
const mostSegments = 128

/** What may stand in a path as it is (RFC 3986 pchar), but for `;`, which some servers cut off and others do not. */
const plain = /^[A-Za-z0-9\-._~!$&'()*+,=:@/]+$/
const unreserved = /^[A-Za-z0-9\-._~]$/

/** Encoded, these would be read as structure, or decoded once more, by some servers: `/`, `\`, `;`, `?`, `#`, `%`, controls. */
const structural = /^[/\\;?#%\x00-\x1f\x7f]$/

/** Services serve these to operators and to the gateway, never to its callers. */
const internal = /^\/(internal|metrics|healthz|readyz)(\/|$)/

/** Whether the path of a request target is longer than any that there is a use for. */
export function isTooLong(target: string): boolean {
  const mark = target.indexOf('?')
  const end = mark === -1 ? target.length : mark
  if (end > longest) return true
  let segments = 0
  for (let at = target.indexOf('/'); at !== -1 && at < end; at = target.indexOf('/', at + 1)) segments += 1
  return segments > mostSegments
}

/**
 * Normalises a request target once: `%41` becomes `A`, hexadecimal digits upper-case, and nothing else changes.
 *
 * Two readings of one path are how a policy is passed by, so a path with more than one is refused, not corrected: dot
 * segments, empty segments, backslashes, `;`, encoded separators or percent signs, broken or non-UTF-8 encoding, other
 * forms of these characters, and targets that are no path (absolute form).
 *
 * Its length is not looked at here (`isTooLong`).
 *
 * @returns undefined if the target is refused
 */
export function normalise(target: string): Target | undefined {
  const mark = target.indexOf('?')
  const raw = mark === -1 ? target : target.slice(0, mark)
  const query = mark === -1 ? '' : target.slice(mark)
  if (!raw.startsWith('/') || /[^\x21-\x7e]|#/.test(target)) return undefined

  const path = plain.test(raw) ? raw : normaliseEncoding(raw)
  if (path === undefined || /\/\/|\/\.{1,2}(\/|$)/.test(path) || !isPlainText(path)) return undefined
  return { path, query }
}

function normaliseEncoding(raw: string): string | undefined {
  let path = ''
  for (let at = 0; at < raw.length; at++) {
    const character = raw.charAt(at)
    if (character !== '%') {
      if (!plain.test(character)) return undefined
      path += character
      continue
    }
    const digits = raw.slice(at + 1, at + 3)
    if (!/^[0-9a-fA-F]{2}$/.test(digits)) return undefined
    const decoded = String.fromCharCode(Number.parseInt(digits, 16))
    if (structural.test(decoded)) return undefined
    path += unreserved.test(decoded) ? decoded : `%${digits.toUpperCase()}`
    at += 2
  }
  return path
}

/** Whether a path, folded, is one that no route may lead to, whatever the route table says. */
export function isInternal(folded: string): boolean {
  return internal.test(folded)
}

/**
 * A path as servers read it that are less exact about names: without case, as many are by default; in Unicode's
 * compatibility form and without dots and spaces at the end of a name, as some file systems are. For comparing only.
 */
export function fold(path: string): string {
  if (!/[A-Z%]|\.(\/|$)/.test(path)) return path
  const names = decodeURIComponent(path).normalize('NFKC').toUpperCase().toLowerCase()
  return names.replace(/[\s.]+/g, (run, at: number) => {
    const next = at + run.length
    return next === names.length || names[next] === '/' ? '' : run
  })
}

/**
 * More marks on one character than any language has (UAX #15, Stream-Safe Text Format): to put them in order takes time
 * by the square of their number.
 */
const tooManyMarks = /(^|\P{M})\p{M}{31}/u

/** Whether what is encoded is UTF-8, and has no characters of structure in another form, such as the full-width slash. */
function isPlainText(encoded: string): boolean {
  if (!encoded.includes('%')) return true
  try {
    const text = decodeURIComponent(encoded)
    // In place of ASCII one letter, so that the marks of one character do not become those of the one before it.
    if (tooManyMarks.test(text)) {
      countLimit('path_marks')
      return false
    }
    return !/[/\\.;?#%]/.test(text.replace(/[\x00-\x7f]+/g, 'a').normalize('NFKC'))
  } catch {
    return false
  }
}
