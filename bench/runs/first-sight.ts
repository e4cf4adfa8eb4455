import { verify as checkSignature, createPublicKey } from 'node:crypto'
import { createLogger } from '@sallyport/chassis'
import { createVerifier } from '@sallyport/gateway/pipeline/access-token'
import { Issuers } from '@sallyport/gateway/pipeline/issuers'
import { startIssuer } from '../lib/issuer.ts'

/**
 * What the first sight of a token costs beside the check of its signature alone: every token here is new, so the cache
 * of verified tokens helps nobody. Both take turns on the same tokens, in one process.
 *
 *   npm run bench:first-sight
 */
const tokens = 100_000
const batch = 2_000

const issuer = await startIssuer()
const own = { issuer: issuer.issuer, audience: issuer.audience, jwks: issuer.url }
const issuers = new Issuers({ own, keySetMaxAge: 300 }, createLogger('bench', 'warn'))
await issuers.ready()
const verifier = createVerifier((name) => (name === issuer.issuer ? issuers.own : undefined))
const key = createPublicKey(issuer.publicKey)

let [whole, bare] = [0, 0]
for (let done = 0; done < tokens; done += batch) {
  const fresh = Array.from({ length: batch }, issuer.token)
  bare += cpu(() => {
    for (const token of fresh) {
      const end = token.lastIndexOf('.')
      const signature = Buffer.from(token.slice(end + 1), 'base64url')
      if (!checkSignature('sha256', Buffer.from(token.slice(0, end)), { key, dsaEncoding: 'ieee-p1363' }, signature))
        throw new Error('a valid signature was rejected')
    }
  })
  whole += cpu(() => {
    for (const token of fresh) verifier.verify(token)
  })
}
issuers.close()
issuer.close()
process.stdout.write(`| ${tokens} different tokens, ES256 | CPU each | |
| --- | ---: | ---: |
| the signature alone | ${(bare / tokens).toFixed(1)} us | 1.00 |
| first sight at the gateway | ${(whole / tokens).toFixed(1)} us | ${(whole / bare).toFixed(2)} |
`)

function cpu(work: () => void): number {
  const before = process.cpuUsage()
  work()
  const { user, system } = process.cpuUsage(before)
  return user + system
}
