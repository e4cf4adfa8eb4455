// Makes the tables of docs/configuration.md from the configs of the processes, and leaves the prose between them alone:
//
//   npm run docs:configuration
//
// With --check it writes nothing, and exits with 1 if the document is stale.
import { generateKeyPairSync } from 'node:crypto'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { readFileSync, writeFileSync } from 'node:fs'
import { readConfig as readGateway } from '../gateway/dist/config.js'
import { readConfig as readMigration } from '../prisma/dist/migrate.js'
import { readConfig as readAppointments } from '../services/appointments/dist/config.js'
import { readConfig as readAuth } from '../services/auth/dist/config.js'
import { readConfig as readNotifications } from '../services/notifications/dist/config.js'
import { readConfig as readWeb } from '../web/dist/server/config.js'

/** What has no default, so that each config can be read. */
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
const required = {
  DATABASE_URL: 'postgresql://user:password@localhost:5432/sallyport',
  GATEWAY_ROUTES: 'gateway/routes.yaml',
  IDENTITY_PRIVATE_KEY: pem,
  JWKS_URL: 'http://localhost:5001/.well-known/jwks.json',
  JWT_AUDIENCE: 'https://api.example.com',
  JWT_ISSUER: 'https://app.example.com',
  JWT_PRIVATE_KEY: pem,
  JWT_REFRESH_SECRET: 'a secret of this script',
  FACTOR_KEY: 'a secret of this script',
}

/** The specs of everything that a config reads, by name. */
function settingsOf(readConfig) {
  const settings = {}
  const collect = (specs) => Object.assign(settings, specs)
  subscribe('sallyport.settings', collect)
  readConfig(required)
  unsubscribe('sallyport.settings', collect)
  return settings
}

const services = [readGateway, readAuth, readAppointments, readNotifications, readWeb].map(settingsOf)
const [gateway, auth, appointments, notifications, web] = services

/** What every process reads, and reads alike. */
const [first, ...others] = services
const shared = Object.keys(first).filter((name) =>
  others.every((settings) => settings[name]?.desc === first[name].desc),
)
const pick = (settings, isWanted) => Object.fromEntries(Object.entries(settings).filter(([name]) => isWanted(name)))
const own = (settings) => pick(settings, (name) => !shared.includes(name))

const sections = {
  'Every process': pick(first, (name) => shared.includes(name)),
  Gateway: own(gateway),
  'Auth service': own(auth),
  Appointments: own(appointments),
  Notifications: own(notifications),
  'Web app': own(web),
  Migration: settingsOf(readMigration),
}

function tableOf(settings) {
  const rows = Object.entries(settings).map(([name, spec]) => {
    const [, meaning, otherwise] = /^(.*?)(?:, such as \d+[a-z])?(?: \((.*) if not set\))?$/s.exec(spec.desc)
    return `| \`${name}\` | ${defaultOf(spec) ?? otherwise ?? 'none'} | ${meaning} |`
  })
  return ['| setting | default | value |', '| --- | --- | --- |', ...rows].join('\n')
}

function defaultOf(spec) {
  if (!('default' in spec)) return 'required'
  const values = [spec.default ?? []].flat()
  if (values.length === 0) return undefined
  if (typeof values[0] !== 'number') return values.map((value) => `\`${value}\``).join(', ')
  return isDuration(spec) ? durationOf(spec.default) : spec.default
}

/** Durations are seconds once they are read, and nothing else takes a unit. */
function isDuration(spec) {
  try {
    return spec._parse('2s') === 2
  } catch {
    return false
  }
}

function durationOf(seconds) {
  const [unit, length] = [
    ['d', 86_400],
    ['h', 3_600],
    ['m', 60],
    ['s', 1],
  ].find(([, length]) => seconds > length && seconds % length === 0) ?? ['s', 1]
  return `${seconds / length}${unit}`
}

const document = new URL('configuration.md', import.meta.url)
const before = readFileSync(document, 'utf8')
const after = Object.entries(sections).reduce((text, [heading, settings]) => {
  const place = new RegExp(`(\n## ${heading}\n\n)(\\|.*\n)*\n*`)
  if (!place.test(text)) throw new Error(`docs/configuration.md has no heading "${heading}"`)
  return text.replace(place, (_table, begin) => `${begin}${tableOf(settings)}\n\n`)
}, before)

if (!process.argv.includes('--check')) writeFileSync(document, after)
else if (after !== before) {
  process.stderr.write('docs/configuration.md is stale; run npm run docs:configuration\n')
  process.exitCode = 1
}
