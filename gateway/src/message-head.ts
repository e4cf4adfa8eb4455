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

/** Where a header ends, behind the empty line; -1 if that is still to come. */
export function endOfHead(text: string): number {
  const end = text.indexOf('\r\n\r\n')
  return end === -1 ? -1 : end + 4
}

/** Most headers that are ever sent have one of a few names, so what becomes of a name is remembered. */
export function memo(decide: (name: string) => string): (sent: string) => string {
  const most = 1_000
  const decided = new Map<string, string>()
  return (sent) => {
    const known = decided.get(sent)
    if (known !== undefined) return known
    const decision = decide(sent.toLowerCase())
    if (decided.size < most && sent.length < 64) decided.set(sent, decision)
    return decision
  }
}

export const lowerCase = memo((name) => name)
