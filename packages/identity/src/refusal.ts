import { Problem } from '@sallyport/verify'

/** Why a guard lets somebody not pass. Fastify responds with its `statusCode` and `headers`; `problem` is RFC 9457. */
export class Refusal extends Problem {
  override name = 'Refusal'
  declare readonly statusCode: 401 | 403

  constructor(statusCode: 401 | 403, code: string, title: string, headers?: Record<string, string>) {
    super(statusCode, code, title, headers && { headers })
  }

  /** The body of the response, as the gateway and every service of ours has it. */
  get problem() {
    return this.body()
  }
}

/** The headers of a response whose body is the problem. */
export const problemHeaders = ({ headers }: Refusal) => ({ ...headers, 'content-type': 'application/problem+json' })
