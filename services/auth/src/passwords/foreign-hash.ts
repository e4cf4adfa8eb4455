import { createCipheriv, createHash, hash, pbkdf2, scrypt, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import { compare as compareBcrypt } from 'bcrypt'
import { itoa64, type StoredHash } from './stored-hash.ts'

type ForeignHash = Exclude<StoredHash, { kind: 'argon2' }>
type Of<Kind> = Extract<StoredHash, { kind: Kind }>

const derive = promisify<string, Buffer, number, object, Buffer>(scrypt)
const derivePbkdf2 = promisify(pbkdf2)

/**
 * Whether a password is the one that another system hashed, whose users were imported. What takes long is done by
 * threads, as argon2 is done.
 *
 * @param stored as readStored bounded it
 */
export async function compareForeign(stored: ForeignHash, password: string): Promise<boolean> {
  switch (stored.kind) {
    case 'bcrypt':
      // PHP's $2y$ is what everybody else calls $2b$, and so is a $2a$ of today: of more than 72 octets, none count.
      return compareBcrypt(Buffer.from(password).subarray(0, 72), stored.text.replace(/^\$2[ay]/, '$2b'))
    case 'scrypt':
      return equal(
        await byScrypt(stored, stored.compatibility ? password.normalize('NFKC') : password, stored.tag.length),
        stored.tag,
      )
    case 'firebase-scrypt':
      return equal(await firebaseTag(stored, password), stored.tag)
    case 'pbkdf2': {
      const { salt, iterations, digest, tag } = stored
      return equal(await derivePbkdf2(password, salt, iterations, tag.length, digest), tag)
    }
    case 'phpass':
      return equal(Buffer.from(phpassTag(stored, password)), Buffer.from(stored.tag))
    case 'ssha':
      return equal(createHash(stored.digest).update(password).update(stored.salt).digest(), stored.tag)
  }
}

const equal = (a: Buffer, b: Buffer) => a.length === b.length && timingSafeEqual(a, b)

function byScrypt({ cost, salt }: Of<'scrypt' | 'firebase-scrypt'>, password: string, length: number) {
  // Twice what it takes by the RFC, since OpenSSL counts a few blocks more.
  return derive(password, salt, length, { ...cost, maxmem: 256 * cost.N * cost.r + 1024 * cost.r * cost.p })
}

/** Firebase's own: the signer key of the project, encrypted with what scrypt makes of the password. */
async function firebaseTag(stored: Of<'firebase-scrypt'>, password: string): Promise<Buffer> {
  const key = await byScrypt(stored, password, 32)
  const cipher = createCipheriv('aes-256-ctr', key, Buffer.alloc(16))
  return Buffer.concat([cipher.update(stored.signerKey), cipher.final()])
}

/** MD5 again and again, as WordPress and phpBB have it. */
function phpassTag({ rounds, salt }: Of<'phpass'>, password: string): string {
  const typed = Buffer.from(password)
  const both = Buffer.concat([Buffer.alloc(16), typed])
  hash('md5', Buffer.concat([Buffer.from(salt), typed]), 'buffer').copy(both)
  for (let round = 0; round < rounds; round++) hash('md5', both, 'buffer').copy(both)
  return encode64(both.subarray(0, 16))
}

/** Three octets are four characters, the lowest six bits first. */
function encode64(octets: Buffer): string {
  let text = ''
  for (let at = 0; at < octets.length; at += 3) {
    const group = octets.subarray(at, at + 3)
    const number = group.readUIntLE(0, group.length)
    for (let digit = 0; digit <= group.length; digit++) text += itoa64[(number >> (6 * digit)) & 63]
  }
  return text
}
