import { Counter, Gauge } from 'prom-client'
import type { Passwords } from './passwords.ts'
import type { Kind } from './stored-hash.ts'

/** Shows how many passwords are being hashed, and how many wait in the queue. */
export function showPasswordHashes(passwords: Pick<Passwords, 'running' | 'waiting'>): void {
  new Gauge({
    name: 'sallyport_password_hashes',
    help: 'Passwords being hashed, and waiting for it',
    labelNames: ['state'],
    collect() {
      this.set({ state: 'running' }, passwords.running)
      this.set({ state: 'waiting' }, passwords.waiting)
    },
  })
}

/** Every value of the label is there from the start, so that a first one is a rise and not a new series. */
export const throttled = new Counter({
  name: 'sallyport_passwords_throttled_total',
  help: 'Passwords and codes that were not tried, since too many wrong ones had come for the same person, by path',
  labelNames: ['path'],
})
for (const path of ['login', 'login/second-factor', 'step-up', 'password', 'password/reset'])
  throttled.inc({ path: `/api/auth/${path}` }, 0)

const storedHashes = new Gauge({
  name: 'sallyport_stored_password_hashes',
  help: 'Users by the kind of their password hash',
  labelNames: ['kind'],
})
const kinds: Kind[] = ['argon2', 'bcrypt', 'scrypt', 'firebase-scrypt', 'pbkdf2', 'phpass', 'ssha']
for (const kind of kinds) storedHashes.set({ kind }, 0)

/** Shows how many users have which hashes: those of another system become argon2 when their users sign in. */
export function showStoredHashes(counts: Partial<Record<Kind, number>>): void {
  for (const kind of kinds) storedHashes.set({ kind }, counts[kind] ?? 0)
}
