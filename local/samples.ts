import { fileURLToPath } from 'node:url'
import { demoPassword, demoUsers, seed } from '@sallyport/database'
import type { Project } from './project.ts'
import { keepServiceAccounts, provisionServiceAccounts } from './service-accounts.ts'
import { programOf } from './system.ts'

/** What `npm start` of this repository runs. Not a part of the package. */
export const samples: Project = {
  name: 'Sallyport',
  routes: fileURLToPath(new URL('../../gateway/routes.yaml', import.meta.url)),
  signIn: 'auth',
  isDemo: true,
  production:
    'it makes users whose password is published. Run `npm run migrate` and then each process (docs/operations.md, "One process each")',
  services: {
    appointments: { program: programOf('appointments'), port: 5002 },
    notifications: { program: programOf('notifications'), port: 5003 },
    // Nothing but the browser is in front of it, so it believes no X-Forwarded-For.
    web: { program: programOf('web'), port: 5173, settings: { TRUSTED_PROXIES: '' } },
  },
  page: 'web',
  settings: { DIRECTORY_ROLES: 'admin,doctor', IMPERSONATION_ROLES: 'admin', REGISTRATION_ROLES: 'patient' },
  async fill(database) {
    await seed(database)
    return { emails: demoUsers.map(({ email }) => email), password: demoPassword }
  },
  async prepare({ databases, secrets, audience, gateway }) {
    const accounts = keepServiceAccounts(secrets)
    await provisionServiceAccounts(databases.auth, accounts, audience)
    const { id, privateKey } = accounts.notifications
    const account = {
      TOKEN_ENDPOINT: `${gateway}/oauth/token`,
      SERVICE_CLIENT_ID: id,
      SERVICE_PRIVATE_KEY: privateKey,
    }
    return {
      appointments: { DATABASE_URL: databases.appointments },
      notifications: { DATABASE_URL: databases.notifications, ...account },
    }
  },
}
