/**
 * The formats of passwords for schemas, which count characters as people do and not as UTF-16 has them: code points,
 * after NFC.
 */
export const passwordFormats = {
  password: (text: string) => !/\p{Cs}/u.test(text) && lengthOf(text) <= longest,
  'new-password': (text: string) => !/\p{Cs}/u.test(text) && isAcceptable(text, shortestWithFactor),
}

/**
 * What NIST SP 800-63B-4 has for a password that is the only factor, and for one that is not. It is for new ones: whoever
 * has a shorter one still signs in.
 */
export const shortest = 15
export const shortestWithFactor = 8
export const longest = 1024

/** Whether a new password is neither too short nor too long. */
export const isAcceptable = (password: string, least = shortest) =>
  lengthOf(password) >= least && lengthOf(password) <= longest

const lengthOf = (password: string) => [...password.normalize('NFC')].length
