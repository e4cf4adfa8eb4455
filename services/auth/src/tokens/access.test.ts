import { createPublicKey, generateKeyPairSync, type KeyObject, verify } from 'node:crypto'
import t from 'tap'
import type { Method } from '../sessions/session.ts'
import { createAccessTokens } from './access.ts'
import { createKeySet } from './key-set.ts'

const pem = ({ privateKey }: { privateKey: KeyObject }) =>
  privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
const keys = {
  ES256: pem(generateKeyPairSync('ec', { namedCurve: 'P-256' })),
  RS256: pem(generateKeyPairSync('rsa', { modulusLength: 2048 })),
  EdDSA: pem(generateKeyPairSync('ed25519')),
}
const session = {
  id: '4a1c7e52-3f0d-4d0c-9a53-5b8f7a2f9d10',
  generation: 3,
  rotatedAt: 1_790_000_000,
  expiresAt: 1_790_604_800,
  proved: { at: 1_790_000_000, amr: ['pwd', 'otp', 'mfa'] as Method[] },
  user: {
    id: '018f4e6e-9d5c-7cc1-a1b5-0d6f0f5d7c11',
    email: 'zoë@example.com',
    name: 'Zoë',
    roles: ['doctor', 'admin'],
  },
}

t.test('an access token says who holds it, signed as its key asks (RFC 7518, RFC 8037, RFC 9068)', async (t) => {
  for (const [alg, privateKey] of Object.entries(keys)) {
    const accessToken = {
      issuer: 'https://issuer.test',
      audience: 'https://api.test',
      clientId: 'web',
      seconds: 900,
      privateKeys: [privateKey] as [string],
    }
    const current = createKeySet({ accessToken, refreshSecrets: ['a secret'], factorKeys: ['a key'] })
    const [header = '', claims = '', signature = ''] = createAccessTokens(accessToken, { current })
      .sign(session)
      .split('.')
    const read = (part: string) => JSON.parse(Buffer.from(part, 'base64url').toString())
    t.strictSame(read(header), { alg, typ: 'at+jwt', kid: current.jwks.keys[0]?.kid }, alg)
    t.match(read(claims), {
      iss: 'https://issuer.test',
      aud: 'https://api.test',
      sub: session.user.id,
      client_id: 'web',
      sid: session.id,
      email: 'zoë@example.com',
      role: 'doctor',
      roles: ['doctor', 'admin'],
      auth_time: 1_790_000_000,
      acr: 'aal2',
      amr: ['pwd', 'otp', 'mfa'],
    })
    const key = { key: createPublicKey(privateKey), dsaEncoding: 'ieee-p1363' } as const
    const content = Buffer.from(`${header}.${claims}`)
    const hash = alg === 'EdDSA' ? null : 'sha256'
    t.ok(verify(hash, content, key, Buffer.from(signature, 'base64url')), alg)
    t.notMatch(signature, /[+/=]/, 'in base64url')
  }
})
