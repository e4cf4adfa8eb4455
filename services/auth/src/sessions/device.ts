import bowser from 'bowser'
import type { FastifyRequest } from 'fastify'
import type { Circumstances } from '../mail/mails.ts'

/** How the names of browsers and systems are written. One that is not known says its own, as long and odd as it likes. */
const written = /^[\x20-\x7e]{1,100}$/

/** Such as "Firefox on Linux"; what is unknown is left out. */
export function describeDevice(userAgent: string | null | undefined): string {
  const { browser, os } = bowser.parse(userAgent || 'unknown')
  const device = [browser.name, os.name].filter(Boolean).join(' on ')
  return written.test(device) ? device : 'Unknown'
}

/** When and from where a request came, for a mail that says so. */
export function circumstancesOf({ ip, headers }: FastifyRequest): Circumstances {
  return { at: new Date().toISOString(), ip, device: describeDevice(headers['user-agent']) }
}
