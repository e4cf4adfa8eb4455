/**
 * One line of a header (RFC 9112 section 5), without what that lets pass for old times' sake: no space before the
 * colon, no folded line, no line that ends in anything but CR LF, no control character.
 */
const headerLine =
  /([\w!#$%&'*+\-.^`|~]+):[\t ]*((?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)[\t ]*\r\n/y

/**
 * Reads the lines of a header up to the empty one.
 *
 * @param text in latin1, so that each character is one byte
 * @param at where the first line begins
 * @returns names as they were sent and values, in turn; undefined unless every line has just one reading
 */
export function readHeaderLines(text: string, at: number): string[] | undefined {
  const headers: string[] = []
  headerLine.lastIndex = at
  let end = at
  for (let line = headerLine.exec(text); line; line = headerLine.exec(text)) {
    headers.push(line[1] as string, line[2] as string)
    end = headerLine.lastIndex
  }
  return text.startsWith('\r\n', end) ? headers : undefined
}

/** The most bytes of a header that are read before its end is there. */
export const longestHead = 16_384

/** Where the header that begins at `from` ends, behind the empty line; -1 if that is still to come. */
export function endOfHead(text: string, from = 0): number {
  const end = text.indexOf('\r\n\r\n', from)
  return end === -1 ? -1 : end + 4
}

/** Names in lower case, which are a few dozen in all that is ever sent, so that each is made but once. */
const lowerNames = new Map<string, string>()
const mostNames = 1_000

export function lowerCase(name: string): string {
  const known = lowerNames.get(name)
  if (known !== undefined) return known
  const lower = name.toLowerCase()
  if (lowerNames.size < mostNames && name.length < 64) lowerNames.set(name, lower)
  return lower
}
