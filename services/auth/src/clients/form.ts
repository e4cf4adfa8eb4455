import type { Application } from '@sallyport/chassis'
import Type from 'typebox'
import { invalidRequest } from './oauth-error.ts'

/** The parameters of a request to an endpoint of OAuth (RFC 6749 appendix B). */
export interface Form {
  /** A parameter, or undefined if it was not sent or is empty. @throws invalid_request if it came more than once */
  get(name: string): string | undefined
  /** @throws invalid_request also if it is missing */
  need(name: string): string
  /** Those that may come more than once. */
  all(name: string): string[]
}

const text = (description: string) => Type.Optional(Type.String({ description }))

/** By which a service account proves who it is, if not by HTTP Basic, as the description of the API has it. */
export const Authentication = {
  client_id: text('the service account; it follows from the assertion'),
  client_assertion_type: text('`urn:ietf:params:oauth:client-assertion-type:jwt-bearer`'),
  client_assertion: text('a JWT signed by a key of the service account (RFC 7523)'),
}

/** Takes forms, and nothing else, as bodies; no body is a form without parameters. */
export function acceptForms(app: Application): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_request, body, done) =>
    done(null, readForm(body as string)),
  )
  app.addHook('preValidation', async (request) => {
    request.body ??= readForm('')
  })
}

export function readForm(body: string): Form {
  const parameters = new URLSearchParams(body)
  // RFC 6749 section 3.2: a parameter without a value is treated as if it were not there.
  const all = (name: string) => parameters.getAll(name).filter((value) => value !== '')
  const get = (name: string) => {
    const [value, ...more] = all(name)
    if (more.length > 0) throw invalidRequest(`${name} came more than once`)
    return value
  }
  return {
    all,
    get,
    need(name) {
      const value = get(name)
      if (value === undefined) throw invalidRequest(`${name} is missing`)
      return value
    },
  }
}
