import { type CryptoKey, compactVerify, importJWK } from 'jose'
import type { IsSigned } from './access-token.ts'
import { type Algorithm, publicPart, type SetKey } from './algorithm.ts'

/** Keys and signatures by Web Crypto, which every runtime has. */
export async function importKey(jwk: SetKey, algorithm: Algorithm): Promise<CryptoKey> {
  return (await importJWK(publicPart(jwk), algorithm)) as CryptoKey
}

export const isSigned: IsSigned<CryptoKey> = (key, algorithm, { signed, signature }) =>
  compactVerify(`${signed}.${signature}`, key, { algorithms: [algorithm] }).then(
    () => true,
    () => false,
  )
