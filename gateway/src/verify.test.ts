import { createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import type { Problem } from '@sallyport/chassis'
import { type Algorithm, algorithmOf, publicJwk } from '@sallyport/identity'
import t from 'tap'
import type { KeySet, PublicKey } from './key-set.ts'
import { type Caller, createVerifier } from './verify.ts'

const makeKey = () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
const ours = makeKey()
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
const edwards = generateKeyPairSync('ed25519').privateKey

const settings = { issuer: 'https://issuer.test', audience: 'https://api.test' }
const keys = new Map<string, PublicKey>([ours, rsa, edwards].map((key) => [publicJwk(key).kid, publicHalf(key)]))
const keySet: KeySet = { find: (kid) => keys.get(kid), ready: async () => {}, close: () => {} }
const verifier = createVerifier(settings, keySet)

function publicHalf(key: KeyObject): PublicKey {
  const { createPublicKey } = process.getBuiltinModule('node:crypto')
  const pem = createPublicKey(key.export({ type: 'pkcs8', format: 'pem' })).export({ type: 'spki', format: 'pem' })
  return { pem: pem.toString(), algorithm: algorithmOf(key) }
}
