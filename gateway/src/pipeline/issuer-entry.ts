import { algorithms, type ClaimPath, discoveryOf, faultOfRoleMap, isWebAddress, withoutUser } from '@sallyport/verify'
import type { FromSchema } from 'json-schema-to-ts'
import type { IssuerEntry } from './issuers.ts'
import { isUnknown, substitute, type Variables } from './substitute.ts'

const word = { type: 'string', minLength: 1 } as const
const words = { type: 'array', items: word, minItems: 1 } as const
const wordOrWords = { anyOf: [word, words] } as const
const theirWords = { type: 'object', additionalProperties: word, minProperties: 1 } as const

/** One of the `issuers` of the route file, as docs/issuers.md describes it. */
export const issuerSchema = {
  type: 'object',
  required: ['issuer', 'audience'],
  additionalProperties: false,
  properties: {
    /** The `iss` of its tokens, letter by letter. */
    issuer: word,
    /** Where its keys are; or its metadata, which name them: without either, below the issuer itself. */
    jwks: word,
    discovery: { anyOf: [word, { const: true }] },
    audience: wordOrWords,
    types: words,
    algorithms: { type: 'array', items: { enum: algorithms }, minItems: 1 },
    /** Where its tokens say what: the name of a claim, or a path. */
    claims: {
      type: 'object',
      additionalProperties: false,
      properties: {
        subject: wordOrWords,
        audience: wordOrWords,
        roles: wordOrWords,
        email: wordOrWords,
        session: wordOrWords,
        scopes: wordOrWords,
        acr: wordOrWords,
      },
    },
    /** Its roles, and ours for them. */
    roleMap: theirWords,
    /** What claims of its access tokens must be. */
    require: { type: 'object', additionalProperties: { anyOf: [word, words, { type: 'boolean' }] }, minProperties: 1 },
    /** By which claims a token is a machine's. */
    clients: { type: 'object', additionalProperties: { anyOf: [word, { const: true }] }, minProperties: 1 },
  },
} as const

/** What may stand in a header as it is (`x-issuer`). */
const name = /^[\x21-\x7e]{1,320}$/

/** @throws what `refuse` makes of it, for an entry that cannot be meant */
export function toIssuerEntry(
  entry: FromSchema<typeof issuerSchema>,
  variables: Variables,
  refuse: (why: string) => Error,
): IssuerEntry {
  const fill = (what: string, text: string) => substitute(text, what, variables, refuse)
  const { jwks, discovery, claims, ...rest } = entry
  const issuer = fill('issuer', entry.issuer)
  if (!name.test(issuer)) throw refuse('its name is longer than 320 characters, or has others than visible ASCII')
  const fault = faultOfRoleMap(entry.roleMap)
  if (fault) throw refuse(`roleMap: ${fault}`)
  if (jwks !== undefined && discovery !== undefined)
    throw refuse('jwks and discovery say the same; keep one of the two')
  const address = (key: string, written: string) => {
    const text = fill(key, written)
    if (!isWebAddress(text) && !isUnknown(text, variables))
      throw refuse(`${key} "${withoutUser(text)}" is not an address like https://login.example.com/keys`)
    return text
  }
  const metadata = discovery === undefined || discovery === true ? address('its name', discoveryOf(issuer)) : discovery
  return {
    ...rest,
    issuer,
    audience: [entry.audience].flat().map((audience) => fill('audience', audience)),
    ...(claims && { claims: claims as Record<string, ClaimPath> }),
    keys: jwks === undefined ? { discovery: address('discovery', metadata), issuer } : { jwks: address('jwks', jwks) },
  }
}
