import { parseArgs } from 'node:util'

export const proxies = ['nginx', 'caddy', 'haproxy', 'traefik', 'envoy'] as const
export type ProxyName = (typeof proxies)[number]

/** What a new project is to have. */
export interface Choices {
  /** `own`: the auth service; or the address of another issuer. */
  issuer: string
  /** What tokens of another issuer are for: `aud`. */
  audience: string
  /** `local`: PostgreSQL from npm; or the address of a database. */
  database: string
  proxy: ProxyName | 'none'
}

export interface Options {
  folder: string
  /** Those that were given. */
  choices: Partial<Choices>
  /** Asks nothing. */
  yes: boolean
  /** A folder with the tarballs of a release, in the place of the registry. */
  packages: string | undefined
}

export const usage = `usage: npm create sallyport FOLDER -- [--issuer own|URL] [--audience TEXT] [--database local|URL]
  [--proxy none|${proxies.join('|')}] [--packages FOLDER] [--yes]`

/** What is asked, and what is taken if nobody is there to answer. In this order, the last two of which depend on the first. */
export const questions = {
  issuer: { text: "Who signs users in: your own auth service, or another issuer's address", usual: 'own' },
  audience: { text: 'What its access tokens are for (aud)', usual: 'api' },
  database: { text: 'Where the database is: local, or a postgresql:// address', usual: 'local' },
  proxy: { text: `Your own proxy in front of services: none, ${proxies.join(', ')}`, usual: 'none' },
} satisfies Record<keyof Choices, { text: string; usual: string }>

/** Whether a question makes sense after those that were answered: a database is that of the auth service. */
export const applies = (name: keyof Choices, { issuer }: Partial<Choices>): boolean =>
  name === 'audience' ? issuer !== 'own' : name === 'database' ? issuer === 'own' : true

/** @throws Error with a line that says what to correct */
export function readOptions(args: string[]): Options {
  const text = { type: 'string' } as const
  const options = { issuer: text, audience: text, database: text, proxy: text, packages: text }
  const { values, positionals } = parseArgs({
    args,
    options: { ...options, yes: { type: 'boolean', default: false } },
    allowPositionals: true,
  })
  const { yes, packages, ...given } = values
  const [folder, ...more] = positionals
  if (folder === undefined || more.length > 0) throw new Error(usage)
  const choices: Record<string, string> = given
  for (const [name, value] of Object.entries(choices)) check(name as keyof Choices, value)
  const issuer = given.issuer ?? 'own'
  if (given.audience !== undefined && !applies('audience', { issuer }))
    throw new Error('--audience is of another issuer; give --issuer its address')
  if (given.database !== undefined && !applies('database', { issuer }))
    throw new Error('--database is of the auth service, and with --issuer there is none; leave one of them out')
  return { folder, choices: choices as Partial<Choices>, yes, packages }
}

/** @throws Error with a line that says what to correct */
export function check(name: keyof Choices, value: string): void {
  const complaint = complaints[name](value)
  if (complaint !== undefined) throw new Error(`--${name} ${JSON.stringify(value)} ${complaint}`)
}

const complaints: Record<keyof Choices, (value: string) => string | undefined> = {
  issuer: (value) =>
    value === 'own' || isAddress(value, /^https?:$/)
      ? undefined
      : 'is no issuer; it is own, or an address such as https://login.example.com',
  audience: (value) => (isPlain(value) ? undefined : 'is no audience; it is a word, or an address'),
  database: (value) =>
    value === 'local' || isAddress(value, /^postgres(ql)?:$/)
      ? undefined
      : 'is no database; it is local, or an address such as postgresql://user:password@host:5432/database',
  proxy: (value) =>
    value === 'none' || (proxies as readonly string[]).includes(value)
      ? undefined
      : `is not known; there are none, ${proxies.join(', ')}`,
}

/** Whether a value can stand in JavaScript, YAML, HTML and a file of settings as it is. */
const isPlain = (value: string) => /^[\x21-\x7e]+$/.test(value) && !/["'`\\$#<>{}]/.test(value)

function isAddress(value: string, protocol: RegExp): boolean {
  return isPlain(value) && URL.canParse(value) && protocol.test(new URL(value).protocol)
}
