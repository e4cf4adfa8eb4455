import bowser from 'bowser'
import type { FastifyRequest } from 'fastify'
import type { Circumstances } from '../mail/mails.ts'

/** Such as "Firefox on Linux"; what is unknown is left out. */
export function describeDevice(userAgent: string | null | undefined): string {
  const { browser, os } = bowser.parse(userAgent || 'unknown')
  return [browser.name, os.name].filter(Boolean).join(' on ') || 'Unknown'
}

/** When and from where a request came, for a mail that says so. */
export function circumstancesOf({ ip, headers }: FastifyRequest): Circumstances {
  return { at: new Date().toISOString(), ip, device: describeDevice(headers['user-agent']) }
}
