import { fold, isInternal, isTooLong, normalise } from './path.ts'

/**
 * What other tools read as a pattern: wildcards, groups and classes, parameters (`:id`, `{id}`, `<id>`), anchors. Of
 * characters that names have too, only the use as a pattern counts: `/~user`, `/c++`, `/$metadata` and
 * `/users:export` are names.
 */
const pattern = /[*^|\\?[\]{}()<>]|(^|[^A-Za-z0-9]):|\$(\/|$)|(^|\/)~(\/|$)|(^|[/.])\+(\/|$)|(^|\/)\.{3,}(\/|$)/

/**
 * What is wrong with a prefix of the route file, or with what takes its place (`rewrite`): a rule that is never applied
 * leaves open what it was to close.
 *
 * @returns how to say it, after the name of the key; undefined if nothing is wrong
 */
export function faultOf(prefix: string): string | undefined {
  const found = pattern.exec(decoded(prefix))
  if (found)
    return `holds "${found[0]}", and is no pattern: it is read letter by letter, and holds the path itself and everything below it; write ${beforePattern(prefix)}`
  if (normalise(prefix)?.path !== prefix)
    return 'is not a plain absolute path like /api/users, which holds everything below it'
  if (isTooLong(prefix)) return 'is longer than any path may be'
  if (isInternal(fold(prefix))) return 'is never reachable, whatever the table says (docs/routes.md)'
  return undefined
}

/** The segments before the first one that holds a pattern. */
function beforePattern(prefix: string): string {
  const segments = prefix.split('/')
  return (
    segments
      .slice(
        0,
        segments.findIndex((segment) => pattern.test(decoded(segment))),
      )
      .join('/') || '/'
  )
}

function decoded(encoded: string): string {
  try {
    return decodeURIComponent(encoded)
  } catch {
    return encoded
  }
}

/** Cuts off the `/` at the end, which does not count. */
export function withoutEnd(prefix: string): string {
  return prefix === '/' ? prefix : prefix.replace(/\/$/, '')
}

/**
 * What becomes of a path below a prefix on its way to an upstream.
 *
 * @param rewrite what takes the place of the prefix; undefined if that stays
 * @returns a function from a normalised path that the prefix holds to another normalised path
 */
export function rewriter(prefix: string, rewrite: string | undefined): (path: string) => string {
  if (rewrite === undefined) return (path) => path
  const cut = lengthOf(prefix)
  const start = rewrite.slice(0, lengthOf(rewrite))
  return (path) => start + path.slice(cut) || '/'
}

/**
 * What an upstream must put before its own paths to name them as its clients do (`X-Forwarded-Prefix`): what the
 * rewriting took away. Undefined if that cannot be said in this way.
 */
export function strippedPrefix(prefix: string, rewrite: string | undefined): string | undefined {
  if (rewrite === undefined) return undefined
  const kept = rewrite.slice(0, lengthOf(rewrite))
  return prefix !== '/' && prefix.endsWith(kept) ? prefix.slice(0, prefix.length - kept.length) || undefined : undefined
}

/** Characters that a prefix has before the `/` of what is below it. */
const lengthOf = (prefix: string) => (prefix === '/' ? 0 : prefix.length)
