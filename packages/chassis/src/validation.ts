import { isUuid } from '@sallyport/identity'
import { Ajv, type ErrorObject } from 'ajv'
import compileJson from 'fast-json-stringify'

/** The pattern of text that Postgres can hold as it came: without the character NUL, and without halves of characters. */
export const storable = '^[^\\u0000\\p{Cs}]*$'

/** Formats of a service's own, by name: whether a text is of the format. */
export type Formats = Record<string, (text: string) => boolean>

/**
 * The formats that schemas may name, and no others: a format is here because what passes it can be used. Those of
 * ajv-formats let pass what Postgres or Date refuse, such as `urn:uuid:` and leap seconds.
 */
const ownFormats: Formats = { uuid: isUuid, 'date-time': isInstant }

const instant = /^(\d{4})-(\d\d)-(\d\d)T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$/

/**
 * Whether a text is a time as RFC 3339 writes it, that Date and Postgres both take: a day that there is, no leap second,
 * and in the years 1 to 9999 in UTC too.
 */
export function isInstant(text: string): boolean {
  const [, year, month, day] = (instant.exec(text) ?? []).map(Number)
  if (year === undefined || month === undefined || day === undefined) return false
  const midnight = new Date(0)
  midnight.setUTCFullYear(year, month - 1, day)
  const isDay = midnight.getUTCMonth() === month - 1 && midnight.getUTCDate() === day
  const yearInUtc = new Date(text).getUTCFullYear()
  return isDay && yearInUtc >= 1 && yearInUtc <= 9999
}

interface Validator {
  (data: unknown): boolean
  errors?: ErrorObject[] | null
}

/**
 * Makes Fastify's check of bodies, parameters and queries, without coercion. What a schema does not name is taken out, at
 * every depth, and what is left must be valid too: `minProperties: 1` is one member that the route knows. Headers are
 * the request's own and never taken out: who is calling, and from where, is read from them.
 */
export function createValidatorCompiler(formats: Formats = {}) {
  // Schemas are ours: that they are schemas is for tests to find, and would take each start as long as Fastify does.
  const options = { formats: { ...ownFormats, ...formats }, validateSchema: false }
  const checking = new Ajv(options)
  const stripping = new Ajv({ ...options, removeAdditional: 'all' })
  return ({ schema, httpPart }: { schema: object; httpPart?: string }): Validator => {
    const compile = () =>
      [...(httpPart === 'headers' ? [] : [stripping]), checking].map((validators) => validators.compile(schema))
    let steps: Validator[] | undefined
    const validate: Validator = (data) => {
      steps ??= compile()
      const failed = steps.find((step) => !step(data))
      validate.errors = failed?.errors ?? null
      return failed === undefined
    }
    return validate
  }
}

/**
 * Makes what writes the responses of Fastify's routes, as Fastify itself does. Both compile a schema when a request first
 * needs it, and not when the process starts: most routes of most processes are never asked.
 */
export function compileSerializer({ schema }: { schema: object }): (data: unknown) => string {
  let serialize: ((data: unknown) => string) | undefined
  return (data) => {
    serialize ??= compileJson(schema)
    return serialize(data)
  }
}
