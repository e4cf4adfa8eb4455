/**
 * The formats of passwords for schemas, which count characters as people do and not as UTF-16 has them: code points,
 * after NFC.
 */
export const passwordFormats = {
  password: (text: string) => !/\p{Cs}/u.test(text) && lengthOf(text) <= 1024,
  'new-password': (text: string) => !/\p{Cs}/u.test(text) && isAcceptable(text),
}

/** Whether a new password is neither too short nor too long. */
export const isAcceptable = (password: string) => lengthOf(password) >= 12 && lengthOf(password) <= 1024

const lengthOf = (password: string) => [...password.normalize('NFC')].length
