import { storable } from '@sallyport/chassis'
import { toMailbox } from '@sallyport/identity'
import Type from 'typebox'

/** What ends a line, or turns the direction of whatever text stands after the name (UTS #55). */
const unprintable = /[\p{Cc}\p{Cs}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u

/** What nobody sees; joiners and marks of direction are parts of names that can be seen. */
const invisible = /[\p{White_Space}\p{Default_Ignorable_Code_Point}\u2800]/gu

/** The formats of what users tell of themselves, for schemas. */
export const accountFormats = {
  mailbox: (text: string) => toMailbox(text) !== undefined,
  name: (text: string) => !unprintable.test(text) && text.replace(invisible, '') !== '',
}

/** An address that can take mail, as far as its form says. Longer ones may be within the limit once they are normal. */
export const Email = Type.String({ format: 'mailbox', maxLength: 320, examples: ['doctor@example.com'] })

export const longestName = 200

/** A user's own name: text on one line, of which nothing is markup. */
export const Name = Type.String({ format: 'name', minLength: 1, maxLength: longestName, pattern: storable })

const localePattern = '^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,3}$'
export const isLocale = (text: string) => new RegExp(localePattern).test(text)

/** A language tag (RFC 5646). */
export const Locale = Type.String({ pattern: localePattern, description: 'such as de-AT' })
