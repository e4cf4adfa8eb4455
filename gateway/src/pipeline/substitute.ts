/** A variable as a file names it. */
const variable = /\$\{(\w+)\}/g

export interface Variables {
  environment: Readonly<Record<string, string | undefined>>
  /** Takes the names of those that are not set, in place of refusing them. */
  unset: Set<string> | undefined
}

/**
 * Puts variables of the environment in place of their names, as `${AUTH_URL}`, so that one file serves every place it is
 * deployed to. Those that are only noted stay as they are written.
 *
 * @param what the text is, for whoever is to set a variable
 */
export function substitute(
  text: string,
  what: string,
  { environment, unset }: Variables,
  refuse: (why: string) => Error,
): string {
  return text.replace(variable, (written, name: string) => {
    const value = environment[name]
    if (value) return value
    if (!unset) throw refuse(`${what} names ${name}, which is not set; set it to an address like http://auth:5001`)
    unset.add(name)
    return written
  })
}

/** Whether a text still names a variable that was only noted, so that nobody knows what it will be. */
export const isUnknown = (text: string, { unset }: Variables): boolean =>
  unset !== undefined && text.search(variable) !== -1
