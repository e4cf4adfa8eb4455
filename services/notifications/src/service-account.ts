import { ConfigurationError, privateKeys, readSettings, text, webAddress } from '@sallyport/chassis'

/** As whom this process calls other services. */
export interface ServiceAccount {
  tokenEndpoint: string
  clientId: string
  privateKey: string
}

/**
 * @returns undefined if none is set
 * @throws ConfigurationError if one is set in part
 */
export function readServiceAccount(environment: Record<string, string | undefined>): ServiceAccount | undefined {
  const settings = readSettings(environment, {
    TOKEN_ENDPOINT: webAddress({
      default: undefined,
      desc: 'where the gateway issues tokens, such as http://gateway:5000/oauth/token',
    }),
    SERVICE_CLIENT_ID: text({ default: undefined, desc: 'the id of the service account to call others as' }),
    SERVICE_PRIVATE_KEY: privateKeys({
      default: undefined,
      desc: 'PEM of its key; `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` makes one',
    }),
  })
  const { TOKEN_ENDPOINT: tokenEndpoint, SERVICE_CLIENT_ID: clientId, SERVICE_PRIVATE_KEY: keys } = settings
  if (tokenEndpoint && clientId && keys) return { tokenEndpoint, clientId, privateKey: keys[0] }
  const missing = Object.entries(settings).flatMap(([name, value]) => (value === undefined ? [name] : []))
  if (missing.length === 3) return undefined
  throw new ConfigurationError(
    `${missing.join(' and ')} is not set; TOKEN_ENDPOINT, SERVICE_CLIENT_ID and SERVICE_PRIVATE_KEY go together`,
  )
}
