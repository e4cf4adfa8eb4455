import { apiKeyPattern } from '@sallyport/identity'
import { type DestinationStream, type LoggerOptions, pino, stdTimeFunctions } from 'pino'

export type { Logger } from 'pino'

/** Anything in a line that has the shape of a JWT, or of the cookie or header that carries one; and of an API key. */
const tokens = new RegExp(`eyJ[\\w-]{5,}\\.[\\w-]*\\.?[\\w-]*|${apiKeyPattern.source}`, 'g')

/**
 * Structured JSON lines on standard output, times in UTC. A request is logged by method and path alone: headers,
 * query and body hold credentials and never reach a line. As a last line of defence, whatever looks like a JWT
 * or an API key is blotted out of the finished line, wherever it came from.
 *
 * A process whose standard output is closed ends with its next line, as one that SIGPIPE reaches would.
 *
 * @param destination where lines go instead of standard output
 */
export function createLogger(service: string, level: string, destination?: DestinationStream) {
  return pino({ ...logging, level, base: { service } }, destination ?? openStandardOutput())
}

/** Synchronous: of lines that wait in memory, the last would be retried for ever once nobody reads them. */
function openStandardOutput(): DestinationStream {
  const output = pino.destination({ dest: 1, sync: true })
  output.on('error', () => process.exit(1))
  return output
}

const logging: LoggerOptions = {
  timestamp: stdTimeFunctions.isoTime,
  formatters: { level: (label) => ({ level: label }) },
  redact: {
    paths: ['password', 'token', 'cookie', 'authorization', '*.password', '*.token', '*.cookie', '*.authorization'],
    censor: '[redacted]',
  },
  serializers: {
    req: (request) => ({ method: request.method, path: request.url?.split('?', 1)[0], id: request.id }),
    res: (reply) => ({ status: reply.statusCode }),
    err: describe,
  },
  hooks: { streamWrite: (line) => line.replace(tokens, '[token]') },
}

/** An error as its name, code, message and stack, with its cause. Other properties may hold a query's values. */
function describe(error: unknown): object {
  if (!(error instanceof Error)) return { message: String(error) }
  const { code } = error as { code?: unknown }
  return {
    type: error.name,
    code,
    message: error.message,
    stack: error.stack,
    ...(error.cause === undefined ? {} : { cause: describe(error.cause) }),
  }
}
