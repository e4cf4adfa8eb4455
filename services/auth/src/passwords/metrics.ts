import { Gauge } from 'prom-client'
import type { Passwords } from './passwords.ts'

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
