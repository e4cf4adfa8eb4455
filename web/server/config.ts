import { choice, origin, port, processConfig, readSettings } from '@sallyport/chassis'

export type Config = ReturnType<typeof readConfig>

/** @throws ConfigurationError with a line for every setting to correct */
export function readConfig(environment: Record<string, string | undefined>) {
  const settings = readSettings(environment, {
    WEB_PORT: port({ default: 5173, desc: 'a port number (5173 if not set)' }),
    GATEWAY_ORIGIN: origin({
      default: undefined,
      desc: "where browsers reach the gateway, such as https://api.example.com (the page's own origin if not set)",
    }),
    REGISTRATION: choice(
      'closed',
      'invite',
      'open',
    )({
      default: 'invite',
      desc: 'as the auth service has it: with open, the login offers to create an account (invite if not set)',
    }),
    SAMPLES: choice(
      'on',
      'off',
    )({
      default: 'on',
      desc: 'off where the sample services do not run: the page then has no appointments (on if not set)',
    }),
  })
  return {
    ...processConfig(environment, 'WEB_PORT', settings.WEB_PORT),
    gateway: settings.GATEWAY_ORIGIN,
    registration: settings.REGISTRATION,
    samples: settings.SAMPLES,
  }
}
