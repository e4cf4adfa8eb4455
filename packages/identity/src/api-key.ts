import { randomInt } from 'node:crypto'
import { crc32 } from 'node:zlib'

/**
 * An API key is `sp_<id>_<secret><checksum>`: the id of a credential without dashes, 43 random characters and a CRC-32 of
 * all before it. Scanners for secrets know it by its form, and whoever made one up is refused without a query: the checksum
 * keeps nothing secret, and proves nothing.
 */
const form = /^sp_[0-9a-f]{32}_[0-9A-Za-z]{49}$/

/** Anything in a text that may be an API key, for what must not pass one on. */
export const apiKeyPattern = /sp_[0-9a-f]{32}_[0-9A-Za-z]+/

/** Begins an API key, and no token of another kind. */
const prefix = 'sp_'

const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const secretLength = 43
const checksumLength = 6

/**
 * Makes a new API key, of 256 random bits.
 *
 * @param id of the credential, a UUID
 */
export function makeApiKey(id: string): string {
  const secret = Array.from({ length: secretLength }, () => digits[randomInt(digits.length)]).join('')
  const content = `${prefix}${id.replaceAll('-', '')}_${secret}`
  return content + checksumOf(content)
}

/**
 * The id of the credential that an API key says it is. It does not check that there is one.
 *
 * @returns undefined if the form or the checksum are wrong
 */
export function apiKeyId(key: string): string | undefined {
  if (!form.test(key)) return undefined
  const content = key.slice(0, -checksumLength)
  if (checksumOf(content) !== key.slice(-checksumLength)) return undefined
  return content.slice(3, 35).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

/** Whether a bearer token is meant as an API key, be it a valid one or not. */
export const isApiKeyLike = (token: string): boolean => token.startsWith(prefix)

function checksumOf(content: string): string {
  let checksum = ''
  for (let rest = crc32(content); checksum.length < checksumLength; rest = Math.floor(rest / digits.length))
    checksum = digits.charAt(rest % digits.length) + checksum
  return checksum
}
