/**
 * The formats of passwords for schemas, which count characters as people do and not as UTF-16 has them: code points,
 * after NFC.
 */
export const passwordFormats = {
  password: (text: string) => !/\p{Cs}/u.test(text) && lengthOf(text) <= longest,
  'new-password': (text: string) => !/\p{Cs}/u.test(text) && isAcceptable(text),
}

/**
 * What NIST SP 800-63B-4 has for a password that is the only factor. It is for new ones: whoever has a shorter one still
 * signs in.
 */
export const shortest = 15
export const longest = 1024

/** Whether a new password is neither too short nor too long. */
export const isAcceptable = (password: string) => lengthOf(password) >= shortest && lengthOf(password) <= longest

const lengthOf = (password: string) => [...password.normalize('NFC')].length
