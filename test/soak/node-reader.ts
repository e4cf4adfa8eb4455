import { createRequire } from 'node:module'

/** A message as Node's own parser reads it. */
export interface NodeMessage {
  method: string
  url: string
  status: number
  statusText: string
  version: string
  /** Names and values in a flat list. */
  headers: string[]
  /** In latin1. */
  body: string
  trailers: string[]
  isUpgrade: boolean
  shouldKeepAlive: boolean
  isComplete: boolean
}

interface Parser {
  initialize(type: number, resource: object, maxHeaderSize: number, lenient: number): void
  execute(bytes: Buffer): number | (Error & { code: string })
  finish(): Error | undefined
  /** Node's parsers are not collected by themselves. */
  close(): void
  // biome-ignore lint/suspicious/noExplicitAny: the callbacks are numbered members
  [callback: number]: any
}

/** Node's parser is no public module; its server and its client are made of it. */
const { HTTPParser, methods } = createRequire(import.meta.url)('_http_common') as {
  HTTPParser: (new () => Parser) & Record<string, number>
  methods: string[]
}

export interface NodeReading {
  /** The last may be incomplete. Hints (1xx) come before the response they belong to. */
  messages: NodeMessage[]
  /** Why Node refuses to read on. */
  error: string | undefined
  /** How many bytes were read: not all before what is of another protocol. */
  length: number
}

/**
 * Reads messages that follow one another, as Node's server or client does.
 *
 * @param methodOf of the request that the response of this number is for; undefined for requests
 * @param hasEnded whether the connection ends behind these bytes
 */
export function readAsNode(bytes: Buffer, methodOf?: (at: number) => string, hasEnded = false): NodeReading {
  const messages: NodeMessage[] = []
  let flushed: string[] = []
  let flushedUrl = ''
  let finals = 0
  const parser = new HTTPParser()
  const isResponse = methodOf !== undefined
  parser.initialize((isResponse ? HTTPParser.RESPONSE : HTTPParser.REQUEST) as number, {}, 0, 0)
  parser[HTTPParser.kOnHeaders as number] = (headers: string[], url: string) => {
    flushed.push(...headers)
    flushedUrl += url
  }
  parser[HTTPParser.kOnHeadersComplete as number] = (
    major: number,
    minor: number,
    headers: string[] | undefined,
    method: number,
    url: string | undefined,
    status: number,
    statusText: string,
    isUpgrade: boolean,
    shouldKeepAlive: boolean,
  ) => {
    messages.push({
      method: methods[method] ?? `method ${method}`,
      url: url ?? flushedUrl,
      status: status ?? 0,
      statusText: statusText ?? '',
      version: `${major}.${minor}`,
      headers: headers ?? flushed,
      body: '',
      trailers: [],
      isUpgrade,
      shouldKeepAlive,
      isComplete: false,
    })
    flushed = []
    flushedUrl = ''
    if (!isResponse) return 0
    if (status >= 100 && status < 200) return 1
    return methodOf(finals++) === 'HEAD' ? 1 : 0
  }
  parser[HTTPParser.kOnBody as number] = (data: Buffer) => {
    const message = messages.at(-1) as NodeMessage
    message.body += data.toString('latin1')
  }
  parser[HTTPParser.kOnMessageComplete as number] = () => {
    const message = messages.at(-1) as NodeMessage
    message.isComplete = true
    message.trailers = flushed
    flushed = []
    flushedUrl = ''
  }
  const read = parser.execute(bytes)
  let error = typeof read === 'number' ? undefined : read.code
  if (error === undefined && hasEnded && !messages.at(-1)?.isUpgrade) {
    const failed = parser.finish() as (Error & { code: string }) | undefined
    if (failed) error = failed.code
  }
  parser.close()
  return { messages, error, length: typeof read === 'number' ? read : 0 }
}

/** How many bytes the first message has, hints before it included, once it is known to be complete in these bytes. */
export function lengthOfFirst(bytes: Buffer, methodOf?: (at: number) => string): number {
  const isThere = (length: number) => firstOf(readAsNode(bytes.subarray(0, length), methodOf))?.isComplete === true
  let low = 0
  let high = bytes.length
  while (high - low > 1) {
    const middle = (low + high) >> 1
    if (isThere(middle)) high = middle
    else low = middle
  }
  return high
}

/** The first message that is no hint. */
export function firstOf({ messages }: Pick<NodeReading, 'messages'>): NodeMessage | undefined {
  return messages.find(({ status }) => status < 100 || status >= 200 || status === 101)
}
