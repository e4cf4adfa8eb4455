/** Controls of a terminal, ends of lines, and what turns the direction of text. */
const unprintable = /[\p{Cc}\p{Cs}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu

/**
 * Text that anybody may have chosen, such as a name or a user agent, as a terminal may get it. It stays what it was in
 * JSON, whose escapes these are.
 */
export const printable = (text: string): string =>
  text.replace(unprintable, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
