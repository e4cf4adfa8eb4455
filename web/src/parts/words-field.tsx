interface Props {
  label: string
  name: string
  hint: string
  words?: string[]
  /** Which words there may be; words of one kind are written alike everywhere. */
  kind: keyof typeof kinds
  required?: boolean
}

/** As the API has them: packages/identity/src/identity.ts */
const kinds = {
  roles: { pattern: '\\s*([a-z][a-z0-9_\\-]{0,31}(\\s+|$))*', title: 'Small letters, digits, - and _' },
  words: { pattern: '[ !#-\\[\\]-~]*', title: 'No quotes, backslashes or letters beyond ASCII' },
}

/** What was typed in a field of words. */
export const wordsOf = (form: FormData, name: string): string[] => [
  ...new Set(
    String(form.get(name) ?? '')
      .split(/\s+/)
      .filter(Boolean),
  ),
]

/** Words with spaces between them. */
export function WordsField({ label, name, hint, words = [], kind, required = false }: Props) {
  return (
    <div className="field">
      <label htmlFor={name}>{label}</label>
      <input
        id={name}
        name={name}
        autoComplete="off"
        autoCapitalize="none"
        spellCheck={false}
        maxLength={1_100}
        defaultValue={words.join(' ')}
        aria-describedby={`${name}-hint`}
        required={required}
        {...kinds[kind]}
      />
      <p className="hint" id={`${name}-hint`}>
        {hint}
      </p>
    </div>
  )
}
