import { statSync } from 'node:fs'
import { readConfig } from '@sallyport/auth/config'
import { openTemplates } from '@sallyport/auth/mail/overrides'
import { openBreached } from '@sallyport/auth/passwords/breached'
import { readConfig as readGatewayConfig } from '@sallyport/gateway/config'
import type { Io } from '../io.ts'
import { type Check, type Finding, failure, orOk, warning } from './check.ts'

const asAuth = 'set it as docs/configuration.md says, the same for every process of auth'

/** The settings of auth, where each of them is right. */
export const readAuthConfig = (env: Io['env']) => tryTo(() => readConfig(env))

export const settings: Check = async ({ env, config }) => {
  const faults = new Set([
    ...setTwice(env),
    ...(await faultsOf(() => readConfig(env))),
    ...(await faultsOf(async () => (await openBreached(config?.breachedPasswords))?.close())),
    ...(await faultsOf(() => config?.mail && openTemplates(config.mail.templates, config.mail.app))),
  ])
  return orOk(
    [...faults].map((fault) => failure(fault, asAuth)),
    'those of auth are right',
  )
}

/** Of a gateway too, where there are any: its key is what no other process has. */
export const gatewaySettings: Check = async ({ env }) => {
  if (!env.IDENTITY_PRIVATE_KEY && !env.IDENTITY_PRIVATE_KEY_FILE) return []
  const faults = await faultsOf(() => readGatewayConfig(env))
  return orOk(
    faults.map((fault) => failure(fault, 'set it as docs/configuration.md says')),
    'those of the gateway are right',
  )
}

/** Which of the two was meant nobody can tell. */
const setTwice = (env: Io['env']): string[] =>
  mountedIn(env)
    .filter(({ name }) => env[name])
    .map(({ name }) => `${name} and ${name}_FILE are both set; drop ${name} to use the file, or ${name}_FILE`)

/** Secrets in files: whoever reads them signs tokens. Kubernetes and Compose may let everyone in the container. */
export const secretFiles: Check = ({ env }) => {
  const open = mountedIn(env).filter(({ file }) => ((statSync(file, { throwIfNoEntry: false })?.mode ?? 0) & 0o004) > 0)
  return orOk(
    open.map(
      ({ name, file }): Finding =>
        warning(`everybody on this machine can read ${file}, the file of ${name}`, `chmod o= ${file}`),
    ),
    'nobody else on this machine can read them',
  )
}

const secretNames = /^(\w*(KEY|KEYS|SECRET|PASSWORD)|DATABASE_URL|SMTP_URL|REDIS_URL)_FILE$/

const mountedIn = (env: Io['env']) =>
  Object.entries(env)
    .filter(([name, file]) => secretNames.test(name) && file)
    .map(([name, file]) => ({ name: name.replace(/_FILE$/, ''), file: file as string }))

async function faultsOf(read: () => unknown): Promise<string[]> {
  try {
    await read()
    return []
  } catch (error) {
    return (error as Error).message.split('\n')
  }
}

function tryTo<Value>(read: () => Value): Value | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}
