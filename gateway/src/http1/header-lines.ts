/**
 * One line of a header (RFC 9112 section 5), without what it allows for compatibility: no space before the
 * colon, no folded line, no line that ends in anything but CR LF, no control character. The spaces around a value are
 * part of it here: an expression that leaves them out takes time by the square of their number.
 */
const headerLine = /[\w!#$%&'*+\-.^`|~]+:[\t\x20-\x7e\x80-\xff]*\r\n/y

/**
 * Reads the lines of a header up to the empty one.
 *
 * @param text in latin1, so that each character is one byte
 * @param at where the first line begins
 * @returns names as sent and values, in a flat list; undefined unless every line has just one reading
 */
export function readHeaderLines(text: string, at: number): string[] | undefined {
  const headers: string[] = []
  let line = at
  headerLine.lastIndex = at
  while (headerLine.test(text)) {
    const next = headerLine.lastIndex
    const colon = text.indexOf(':', line)
    let begin = colon + 1
    let end = next - 2
    while (begin < end && isSpace(text.charCodeAt(begin))) begin += 1
    while (begin < end && isSpace(text.charCodeAt(end - 1))) end -= 1
    headers.push(text.slice(line, colon), text.slice(begin, end))
    line = next
  }
  return text.startsWith('\r\n', line) ? headers : undefined
}

/** HTTP has two kinds of white space; `trim` knows more, and would take a byte of UTF-8 for one. */
const isSpace = (code: number) => code === 0x20 || code === 0x09

/** The most bytes of a header that are read before its end. */
export const longestHead = 16_384

/** Where a header ends, behind the empty line; -1 if that is still to come. */
export function endOfHead(text: string): number {
  const end = text.indexOf('\r\n\r\n')
  return end === -1 ? -1 : end + 4
}
