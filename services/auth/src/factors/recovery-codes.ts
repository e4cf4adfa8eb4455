import { createHash, randomBytes } from 'node:crypto'
import type { Prisma } from '@sallyport/database'

const howMany = 10
const bytes = 15

/** Crockford's base32, which has no letters that look like digits. */
const alphabet = '0123456789abcdefghjkmnpqrstvwxyz'
const length = (bytes * 8) / 5
const form = new RegExp(`^[${alphabet}]{${length}}$`)

/** 120 random bits, too many to guess; in groups, to be written down. */
function makeCode(): string {
  let bits = BigInt(`0x${randomBytes(bytes).toString('hex')}`)
  let code = ''
  for (let at = 0; at < length; at++) {
    code = alphabet[Number(bits & 31n)] + code
    bits >>= 5n
  }
  return (code.match(/.{6}/g) as string[]).join('-')
}

/** A code as it was made, however it was typed. @returns undefined if it is none */
export function readRecoveryCode(typed: string): string | undefined {
  const plain = typed.toLowerCase().replace(/[\s-]/g, '').replaceAll('o', '0').replace(/[il]/g, '1')
  return form.test(plain) ? plain : undefined
}

const hashOf = (plain: string) => new Uint8Array(createHash('sha256').update(plain).digest())

/** Makes ten codes, and voids those from before. @returns them as they are shown, once */
export async function makeRecoveryCodes(transaction: Prisma.TransactionClient, userId: string): Promise<string[]> {
  const codes = Array.from({ length: howMany }, makeCode)
  await transaction.recoveryCode.deleteMany({ where: { userId } })
  const data = codes.map((code) => ({ userId, hash: hashOf(readRecoveryCode(code) as string) }))
  await transaction.recoveryCode.createMany({ data })
  return codes
}

/** Whether a code is the user's and was not used. It is from then on. @param plain as readRecoveryCode returns it */
export async function useRecoveryCode(
  transaction: Prisma.TransactionClient,
  userId: string,
  plain: string,
): Promise<boolean> {
  const { count } = await transaction.recoveryCode.deleteMany({ where: { hash: hashOf(plain), userId } })
  return count === 1
}
