import { isIP } from 'node:net'
import { ConfigurationError } from '@sallyport/chassis'

/** For whom passkeys are made (WebAuthn): a domain, and the pages of it that may ask for one, by their origins. */
export interface RelyingParty {
  id: string
  origins: [string, ...string[]]
}

interface Settings {
  RP_ID: string | undefined
  APP_ORIGIN: string | undefined
  CORS_ORIGINS: string[]
}

/**
 * Browsers make passkeys for a domain, and offer them to pages there and below it: over https, or on this machine.
 *
 * @returns undefined if nothing says which domain it is, or there is none, as with IP addresses: no passkeys then
 * @throws ConfigurationError if no page is in the domain
 */
export function readRelyingParty({ RP_ID, APP_ORIGIN, CORS_ORIGINS }: Settings): RelyingParty | undefined {
  const pages = [...new Set([...(APP_ORIGIN ? [APP_ORIGIN] : []), ...CORS_ORIGINS])]
  const id = RP_ID ?? onlyHost(APP_ORIGIN ? [APP_ORIGIN] : pages)
  if (id === undefined) return undefined
  const [first, ...others] = pages.filter((page) => isIn(id, new URL(page)))
  if (first) return { id, origins: [first, ...others] }
  if (RP_ID === undefined) return undefined
  throw new ConfigurationError(
    `RP_ID is ${RP_ID}, and no page is there; set APP_ORIGIN or CORS_ORIGINS to one that is, such as https://${RP_ID}`,
  )
}

function onlyHost(pages: string[]): string | undefined {
  const [host, another] = new Set(pages.map((page) => new URL(page).hostname))
  return host === undefined || another !== undefined || isIP(host) || host.startsWith('[') ? undefined : host
}

const isIn = (domain: string, { protocol, hostname }: URL) =>
  (hostname === domain || hostname.endsWith(`.${domain}`)) &&
  (protocol === 'https:' || /(^|\.)localhost$/.test(hostname))
