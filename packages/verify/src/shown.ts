const mostCharacters = 80
const mostItems = 4

/** What of a token, or of settings, stands in the log: short, in visible ASCII, and never somebody's address. */
export function shown(value: unknown): string {
  const items = [value].flat()
  const words = items.slice(0, mostItems).map(wordOf)
  return [...words, ...(items.length > mostItems ? ['...'] : [])].join(', ') || 'an empty list'
}

function wordOf(value: unknown): string {
  if (value === undefined) return 'missing'
  if (typeof value === 'object') return 'an object'
  if (typeof value !== 'string') return String(value)
  if (value.includes('@')) return 'an address'
  const text = value.replace(/[^\x20-\x7e]/g, '?')
  return text.length > mostCharacters ? `"${text.slice(0, mostCharacters)}..."` : `"${text}"`
}

/** Why a token is refused: what it has in one place is not what is wanted there. */
export const mismatch = (name: string, found: unknown, wanted: unknown): string =>
  `${name} is ${shown(found)}; wanted ${shown(wanted)}`
