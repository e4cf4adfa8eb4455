import Type, { type Static } from 'typebox'

/** The answer of the token endpoint (RFC 6749 section 5.1, RFC 8693 section 2.2.1). */
export const TokenResponse = Type.Object({
  access_token: Type.String(),
  issued_token_type: Type.Optional(Type.String({ description: 'of an exchange' })),
  token_type: Type.String(),
  expires_in: Type.Integer({ description: 'in seconds' }),
  scope: Type.String({ description: 'separated by spaces' }),
})
export type TokenResponse = Static<typeof TokenResponse>
