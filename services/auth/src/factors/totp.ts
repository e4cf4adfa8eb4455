import type { Database, Prisma } from '@sallyport/database'
import { Secret, TOTP } from 'otpauth'
import { renderSVG } from 'uqr'
import type { FactorKey } from './factor-key.ts'

/** What every authenticator app knows (RFC 6238): others are offered by few. */
const parameters = { algorithm: 'SHA1', digits: 6, period: 30 } as const

/** How many steps ago a code may have been the one of the moment: it takes time to type it. */
const stepsBack = 1

/** 160 bits, as RFC 4226 recommends. @returns it in base32 (RFC 4648) */
export const makeSecret = () => new Secret({ size: 20 }).base32

/** What an authenticator app reads: as a URI, and as a QR code in SVG. */
export function keyUriOf(secret: string, issuer: string, label: string): { uri: string; qr: string } {
  // The colon parts the issuer from the account there.
  const uri = new TOTP({ ...parameters, issuer: issuer.replaceAll(':', ' '), label, secret }).toString()
  // The margin that ISO/IEC 18004 asks for.
  return { uri, qr: renderSVG(uri, { border: 4 }) }
}

export const looksLikeTotp = (text: string) => /^\d{6}$/.test(text)

/** The time step that a code is of, the one of the moment or the one before. Compares in constant time. */
export function stepOf(secret: string, code: string, now = Date.now()): number | undefined {
  // Six other characters may be more bytes than six, and only what is equally long is compared in constant time.
  if (!looksLikeTotp(code)) return undefined
  const totp = new TOTP({ ...parameters, secret })
  const current = Math.floor(now / 1000 / parameters.period)
  const steps = Array.from({ length: stepsBack + 1 }, (_, back) => current - back)
  const matching = steps.filter(
    (step) => totp.validate({ token: code, timestamp: step * parameters.period * 1000, window: 0 }) !== null,
  )
  return matching[0]
}

/**
 * Whether a code is right, which it is once: the step is written in the statement that finds out whether it, or a later
 * one, was there before.
 *
 * @throws Error if the secret was sealed with a key that is not there any more
 */
export async function useTotp(
  database: Database,
  factorKey: FactorKey,
  userId: string,
  code: string,
): Promise<boolean> {
  const stored = await database.totp.findUnique({ where: { userId } })
  if (!stored) return false
  const secret = factorKey.open(stored.secret, userId)
  if (secret === undefined)
    throw new Error(`the secret of user ${userId} is sealed with a key ${stored.keyId} that FACTOR_KEY does not hold`)
  const step = stepOf(secret, code)
  if (step === undefined) return false
  const { count } = await database.totp.updateMany({
    where: { userId, lastStep: { lt: step } },
    data: { lastStep: step },
  })
  return count === 1
}

/** Makes a secret the user's, in the place of another one. @param lastStep of the code that showed that the app has it */
export async function storeTotp(
  transaction: Prisma.TransactionClient,
  factorKey: FactorKey,
  { userId, secret, lastStep }: { userId: string; secret: string; lastStep: number },
): Promise<void> {
  const data = { secret: factorKey.seal(secret, userId), keyId: factorKey.ids[0], lastStep, createdAt: new Date() }
  await transaction.totp.upsert({ where: { userId }, create: { userId, ...data }, update: data })
}

/**
 * Seals with the active key what is sealed with an earlier one, so that that can be retired.
 *
 * @returns how many
 */
export async function resealSecrets(database: Database, factorKey: FactorKey, most: number): Promise<number> {
  const [active, ...earlier] = factorKey.ids
  const outdated = await database.totp.findMany({ where: { keyId: { in: earlier } }, take: most })
  let resealed = 0
  for (const { userId, secret: sealed } of outdated) {
    const secret = factorKey.open(sealed, userId)
    if (secret === undefined) continue
    const data = { secret: factorKey.seal(secret, userId), keyId: active }
    const { count } = await database.totp.updateMany({ where: { userId, secret: sealed }, data })
    resealed += count
  }
  return resealed
}
