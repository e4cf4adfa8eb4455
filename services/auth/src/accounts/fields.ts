import { storable } from '@sallyport/chassis'
import { toMailbox } from '@sallyport/identity'
import Type from 'typebox'

/** The formats of what users tell of themselves, for schemas. */
export const accountFormats = {
  mailbox: (text: string) => toMailbox(text) !== undefined,
  name: (text: string) => text.trim() !== '' && !/[\p{Cc}\u2028\u2029]/u.test(text),
}

/** An address that can take mail, as far as its form says. Longer ones may be within the limit once they are normal. */
export const Email = Type.String({ format: 'mailbox', maxLength: 320, examples: ['doctor@example.com'] })

/** A user's own name: text on one line, of which nothing is markup. */
export const Name = Type.String({ format: 'name', minLength: 1, maxLength: 200, pattern: storable })

/** A language tag (RFC 5646). */
export const Locale = Type.String({ pattern: '^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,3}$', description: 'such as de-AT' })
