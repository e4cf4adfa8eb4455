/** Milliseconds for the whole answer, and the most bytes of it: no key set comes near. */
const timeout = 3_000
const longest = 1024 * 1024

/**
 * Fetches a JSON object of a server that is trusted to name keys, and with nothing else.
 *
 * @param url followed to nowhere else: a redirect is refused
 * @throws for any other answer than a 200 with an object, of at most a mebibyte, within 3 seconds
 */
export async function fetchJson(url: string): Promise<Record<string, unknown>> {
  const response = await fetch(url, {
    headers: { accept: 'application/json' },
    signal: AbortSignal.timeout(timeout),
    // Not `error`, which not every runtime has: what redirects has no 200.
    redirect: 'manual',
  })
  const text = response.status === 200 ? await readText(response) : undefined
  if (text === undefined) {
    await response.body?.cancel()
    throw new Error(`${url} answered ${response.status}`)
  }
  const value = parse(text)
  if (typeof value !== 'object' || value === null) throw new Error(`${url} answered with no JSON object`)
  return value as Record<string, unknown>
}

async function readText({ url, body }: Response): Promise<string> {
  const reader = body?.getReader()
  const decoder = new TextDecoder()
  let text = ''
  for (let length = 0; reader; ) {
    const { done, value } = await reader.read()
    if (done) break
    length += value.length
    if (length > longest) {
      await reader.cancel()
      throw new Error(`${url} answered with more than ${longest} bytes`)
    }
    text += decoder.decode(value, { stream: true })
  }
  return text
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
