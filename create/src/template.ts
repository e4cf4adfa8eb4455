/** What is chosen, by the words that stand for it in the template. */
export type Holds = Readonly<Record<string, boolean>>

/**
 * Where a file of the template comes to lie: `page/page.own.js` is `page/page.js` if `own` holds. npm packs no
 * `.gitignore`, so dots are written `dot-`.
 *
 * @returns undefined if it is not for this project
 */
export function fileName(path: string, holds: Holds): string | undefined {
  const [, before = '', word = '', after = ''] = /^(.*)\.(\w+)(\.\w+)$/.exec(path) ?? []
  const name = Object.hasOwn(holds, word) ? `${before}${after}` : path
  return holds[word] === false ? undefined : name.replace(/(^|\/)dot-/, '$1.')
}

/** Keeps of the lines that end with a condition, as a comment of the file's own (`#? own`), those for which it holds. */
export function render(text: string, holds: Holds, values: Readonly<Record<string, string>>): string {
  return text
    .split('\n')
    .flatMap((line) => {
      const [, kept = line, word] = /^(.*?) ?(?:\/\/|#|<!--)\? (\w+)(?: -->)?$/.exec(line) ?? []
      return word === undefined || holds[word] ? [kept] : []
    })
    .join('\n')
    .replaceAll(/\n{3,}/g, '\n\n')
    .replaceAll(/\{\{(\w+)\}\}/g, (_, name) => values[name] as string)
}
