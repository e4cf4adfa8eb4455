import { STATUS_CODES } from 'node:http'
import type { Problem } from '@sallyport/chassis'
import type { ResponseWriter } from './response-writer.ts'

/** A problem as a response of JSON (RFC 9457). Header names are in lower case; names and values in a flat list. */
export function problemResponse(problem: Problem) {
  const body = Buffer.from(JSON.stringify(problem.body()))
  const headers = Object.entries(problem.headers).flat()
  headers.push('content-type', 'application/problem+json', 'content-length', String(body.length))
  return { status: problem.statusCode, statusText: STATUS_CODES[problem.statusCode] as string, headers, body }
}

/**
 * @param method of the request: the response to a HEAD has no body
 * @param ownHeaders what the gateway says on every response
 */
export function writeProblem(problem: Problem, method: string, ownHeaders: string[], writer: ResponseWriter): void {
  const { status, statusText, headers, body } = problemResponse(problem)
  writer.begin(status, statusText, ownHeaders.concat(headers))
  writer.end(method === 'HEAD' ? undefined : body)
}
