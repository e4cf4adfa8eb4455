/** For tests: takes the lines that a program says and warns of. */
export function takeOutput() {
  const taken = { output: '', errors: '' }
  return {
    taken,
    say(line: string): void {
      taken.output += `${line}\n`
    },
    warn(line: string): void {
      taken.errors += `${line}\n`
    },
  }
}
