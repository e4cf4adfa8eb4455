/** Most headers that are ever sent have one of a few names, so what becomes of a name is remembered. */
export function memo(decide: (name: string) => string): (sent: string) => string {
  const most = 1_000
  const decided = new Map<string, string>()
  return (sent) => {
    const known = decided.get(sent)
    if (known !== undefined) return known
    const decision = decide(sent.toLowerCase())
    if (decided.size < most && sent.length < 64) decided.set(sent, decision)
    return decision
  }
}

export const lowerCase = memo((name) => name)
