/** A list of words, such as roles. */
export function Chips({ words, none }: { words: readonly string[]; none?: string }) {
  if (words.length === 0) return none
  return (
    <span className="chips">
      {words.map((word) => (
        <span key={word} className="chip">
          {word}
        </span>
      ))}
    </span>
  )
}
