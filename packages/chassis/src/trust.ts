import { ConfigurationError, type Environment, publicKeys, readSettings, text } from './settings.ts'

/**
 * Reads what a service behind the gateway believes about its caller: with
 * IDENTITY_PUBLIC_KEY the signed assertion, without it the plain headers, which production does not allow.
 *
 * @param audience the name under which the gateway's routes know the service, unless IDENTITY_AUDIENCE says another
 */
export function readTrust(environment: Environment, audience: string) {
  const settings = readSettings(environment, {
    IDENTITY_PUBLIC_KEY: publicKeys({
      default: undefined,
      desc: 'PEM of the public keys of the gateway; `openssl pkey -pubout` makes one from IDENTITY_PRIVATE_KEY',
    }),
    IDENTITY_AUDIENCE: text({
      default: audience,
      desc: `the audience of the gateway's routes to here (${audience} if not set)`,
    }),
  })
  const keys = settings.IDENTITY_PUBLIC_KEY
  if (keys) return { verify: true as const, publicKeys: keys, audience: settings.IDENTITY_AUDIENCE }
  if (environment.NODE_ENV === 'production')
    throw new ConfigurationError(
      'IDENTITY_PUBLIC_KEY is not set, nor is IDENTITY_PUBLIC_KEY_FILE; it takes PEM of the public keys of the gateway, so that nobody else can say who is calling',
    )
  return { verify: false as const }
}
