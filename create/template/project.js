import { fileURLToPath } from 'node:url'

const file = (path) => fileURLToPath(new URL(path, import.meta.url))

/** What `npm start` and the tests run. */
export const project = {
  name: '{{name}}',
  routes: file('routes.yaml'),
  signIn: '{{signIn}}',
  services: { service: { program: file('service/server.js'), port: 5010 } },
  settings: {
    REGISTRATION: 'closed', //? own
    ISSUER: '{{issuer}}', //? issuer
    AUDIENCE: '{{audience}}', //? issuer
    FORWARD_AUTH_PORT: '5100', //? proxy
    TRUSTED_PROXIES: '127.0.0.1', //? proxy
    APP_ORIGIN: '{{page}}', //? proxy
    CORS_ORIGINS: '{{page}}', //? proxy
  },
  production: 'docker-compose.yml is for that',
}
