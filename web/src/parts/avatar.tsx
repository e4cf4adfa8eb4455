/** The first letters of a name. The name itself stands beside it. */
export function Avatar({ name }: { name: string }) {
  const letters = name.split(/\s+/).map(([first = '']) => first)
  return (
    <span className="avatar" aria-hidden="true">
      {(letters[0] ?? '') + (letters.length > 1 ? letters.at(-1) : '')}
    </span>
  )
}
