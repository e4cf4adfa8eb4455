import Type from 'typebox'

/** What a Problem looks like to its caller. Apart from it, since the gateway describes no responses. */
export const problemSchema = Type.Object(
  {
    type: Type.String(),
    title: Type.String(),
    status: Type.Integer(),
    code: Type.String(),
    error: Type.String(),
    detail: Type.Optional(Type.String()),
  },
  { $id: 'Problem', description: 'RFC 9457 problem details', additionalProperties: true },
)
