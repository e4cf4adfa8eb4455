import { isIP } from 'node:net'
import { domainToASCII, domainToUnicode } from 'node:url'
import { isEmail } from '@sallyport/verify'

/** Octets of an address (RFC 5321 section 4.5.3.1.3, without the angle brackets). */
const longest = 254

/**
 * The characters of a domain, before UTS #46 is applied. Node reads a domain as the host of a URL: what would end a
 * host there, or is decoded there, is no part of one here.
 */
const domainCharacters = /^[a-z0-9._\-\u{80}-\u{10ffff}]+$/iu

/** The labels of a domain as the DNS has them; a name that has others is no name of a mail host. */
const labels = /^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/

/**
 * The one spelling of an e-mail address by which an account is kept and found: without spaces around it, in lower case,
 * the local part in Unicode's form NFC, and the domain in A-labels (RFC 5890), as browsers send it, without the dot that
 * may end it. It does not check that the address takes mail.
 *
 * @returns undefined for what is no address, or is longer than 254 octets so spelled
 */
export function toMailbox(address: string): string | undefined {
  const parts = address.trim().split('@')
  const [local = '', domain = ''] = parts
  if (parts.length !== 2 || local === '') return undefined
  const ascii = toDomain(domain)
  const mailbox = `${fold(local)}@${ascii}`
  return ascii !== undefined && isEmail(mailbox) && Buffer.byteLength(mailbox) <= longest ? mailbox : undefined
}

/**
 * The spellings under which somebody's account may be found who types this address: the one of `toMailbox` first, then
 * those that earlier versions stored. Never empty, so that what is no address is looked for like any other.
 */
export function spellingsOf(address: string): [string, ...string[]] {
  const typed = address.trim().toLowerCase()
  const mailbox = toMailbox(address)
  if (mailbox === undefined) return [typed]
  const at = mailbox.indexOf('@')
  const unicode = mailbox.slice(0, at + 1) + domainToUnicode(mailbox.slice(at + 1))
  return [...new Set([mailbox, unicode, typed])] as [string, ...string[]]
}

/**
 * The texts to look for in kept addresses that have this one somewhere in them: as it is, and if it can be the domain or
 * the whole of an address, as that is kept.
 */
export function partsOf(text: string): string[] {
  const typed = fold(text.trim())
  const at = typed.lastIndexOf('@')
  const domain = toDomain(typed.slice(at + 1))
  return domain === undefined ? [typed] : [...new Set([typed, typed.slice(0, at + 1) + domain])]
}

const fold = (text: string) => text.normalize('NFC').toLowerCase().normalize('NFC')

function toDomain(domain: string): string | undefined {
  if (!domainCharacters.test(domain)) return undefined
  // Of capital sharp s, versions of Unicode before 15.1 make `ss`.
  const ascii = domainToASCII(domain.replaceAll('ẞ', 'ß')).replace(/\.$/, '')
  return labels.test(ascii) && isIP(ascii) === 0 ? ascii : undefined
}
