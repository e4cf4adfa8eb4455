/**
 * Makes the vectors of hashes.test.ts that Node's libraries make: 1,000 each, with the passwords of make.py.
 *
 *   npm install --no-save firebase-scrypt@2.2.0 better-auth@1.7.25
 *   node test/foreign-hashes/make.mjs [folder of make.py's]
 */
import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { hashPassword } from 'better-auth/crypto'
import firebase from 'firebase-scrypt'

const folder = process.argv[2] ?? import.meta.dirname
const lines = gunzipSync(readFileSync(join(folder, 'bcrypt.ndjson.gz')))
  .toString()
  .trim()
  .split('\n')
const passwords = lines.map((line) => JSON.parse(line).password)

async function write(name, make) {
  let text = ''
  for (const [index, password] of passwords.entries())
    text += `${JSON.stringify({ password, ...(await make(password, index)) })}\n`
  writeFileSync(join(folder, `${name}.ndjson.gz`), gzipSync(text, { level: 9 }))
}

await write('better-auth', async (password) => ({ exported: await hashPassword(password) }))

const signerKey = randomBytes(64).toString('base64')
await write('firebase', async (password, index) => {
  const parameters = {
    memCost: index % 100 ? 8 + (index % 4) : 14,
    rounds: 8,
    saltSeparator: 'Bw==',
    signerKey,
  }
  const salt = randomBytes(10 + (index % 7)).toString('base64')
  const hash = await new firebase.FirebaseScrypt(parameters).hash(password, salt)
  return { exported: { passwordHash: hash, salt }, parameters }
})
