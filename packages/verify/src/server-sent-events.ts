/**
 * Reads server-sent events (the EventSource section of HTML), as the auth service sends them: of a stream that was cut
 * into chunks anywhere, each event that is complete.
 *
 * @param onEvent its name, and its data
 * @returns takes the next chunk
 */
export function readEvents(onEvent: (name: string, data: string) => void): (chunk: string) => void {
  let rest = ''
  let name = ''
  let data: string[] = []
  return (chunk) => {
    const lines = (rest + chunk).split(/\r?\n/)
    rest = lines.pop() as string
    for (const line of lines) {
      if (line === '') {
        if (data.length > 0) onEvent(name, data.join('\n'))
        name = ''
        data = []
        continue
      }
      const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line) as RegExpExecArray
      if (field === 'event') name = value as string
      if (field === 'data') data.push(value as string)
    }
  }
}
