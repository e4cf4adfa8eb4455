/** Whether a text is an address to fetch from: over HTTP, and without a user, whose password would end up in errors and logs. */
export function isWebAddress(text: string): boolean {
  const url = URL.canParse(text) ? new URL(text) : undefined
  return url !== undefined && /^https?:$/.test(url.protocol) && url.username === '' && url.password === ''
}

/** A text that is no address as an error may show it: without the user and the password that it may hold. */
export const withoutUser = (text: string): string => text.replace(/^([^/@]*\/\/)?.*@/, '$1...@')
