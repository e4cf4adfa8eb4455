/** Where text begins and ends that has a direction of its own (Unicode: first strong isolate, pop directional isolate). */
export const isolate = { begin: '\u2068', end: '\u2069' }

/** Whatever breaks lines or turns the direction of text: a name could pretend to be more than one. */
const unruly = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu

/** Mail programs make links of what looks like an address, with or without a scheme. */
const linkable = /(?<=[.。．｡:@])(?=\S)/gu
const wordJoiner = '\u2060'

const usual = 100

/**
 * Text that comes from strangers (a name, an address, a device) for a mail in our name: on its own in its direction, of a
 * length that tells no story, and no link. Markup in it is for whoever lays the mail out.
 */
export function foreign(text: string, longest = usual): string {
  const characters = [...text.replace(unruly, '')]
  const short = characters.length > longest ? [...characters.slice(0, longest), '…'] : characters
  return `${isolate.begin}${short.join('').replace(linkable, wordJoiner)}${isolate.end}`
}
