import { Secret, URI } from 'otpauth'

/** Octets of a secret: from 80 bits, which many apps have, to more than any. */
const [shortest, longest] = [10, 128]

/**
 * The secret of an authenticator app as it is exported: base32, or the URI that the app read.
 *
 * @returns it in base32; null for what is no such secret, or of an app that makes other codes than those of this system
 */
export function readTotp(exported: string): string | null {
  try {
    return exported.startsWith('otpauth:') ? ofUri(exported) : ofBase32(exported)
  } catch {
    return null
  }
}

/** The secret whose octets are the characters of a text, as some systems keep it. */
export const ofCharacters = (text: string): string | null => ofBase32(new Secret({ buffer: bytesOf(text) }).base32)

function ofUri(text: string): string | null {
  const uri = URI.parse(text)
  const isUsual = 'period' in uri && uri.period === 30 && uri.digits === 6 && uri.algorithm === 'SHA1'
  return isUsual ? ofBase32(uri.secret.base32) : null
}

function ofBase32(text: string): string | null {
  const base32 = text.replace(/[\s-]|=+$/g, '').toUpperCase()
  const octets = Math.floor((base32.length * 5) / 8)
  return /^[A-Z2-7]+$/.test(base32) && octets >= shortest && octets <= longest ? base32 : null
}

function bytesOf(text: string): ArrayBuffer {
  const { buffer, byteOffset, byteLength } = new TextEncoder().encode(text)
  return buffer.slice(byteOffset, byteOffset + byteLength)
}
