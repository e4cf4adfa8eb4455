import { join } from 'node:path'
import type { Ports } from './ports.ts'
import type { Project } from './project.ts'
import type { RunningSystem } from './run-system.ts'
import { local } from './system-settings.ts'

interface Places {
  folder: string
  log: string
  ports: Ports
  ownsDatabase: boolean
}

/** What to read once all of it runs. */
export function greet(
  { name, services }: Project,
  { page, gateway, mailbox, users }: RunningSystem,
  { folder, log, ports, ownsDatabase }: Places,
): string {
  const { postgres, of } = ports
  const [email] = users.emails
  const rows: [string, string | undefined | false][] = [
    ['Open', page],
    ['Mailbox', mailbox],
    ['', ''],
    ['Gateway', gateway],
    ['Auth', mailbox && local(of.auth as number)],
    ...Object.keys(services).map((service): [string, string] => [capitalise(service), local(of[service] as number)]),
    [
      'Database',
      mailbox !== undefined &&
        ownsDatabase &&
        `export DATABASE_URL="postgresql://postgres:$(cat '${join(folder, 'postgres-password')}')@127.0.0.1:${postgres}/sallyport"`,
    ],
    ['Log', log],
    ['', ''],
    ...(email === undefined
      ? []
      : ([
          ['Sign in as', users.emails.join(', ')],
          ['Password', users.password],
          ['', ''],
        ] satisfies [string, string][])),
    [
      'Try',
      email === undefined
        ? `curl -s ${gateway}/api/public`
        : `curl -s ${gateway}/api/auth/login -H 'content-type: application/json' \\
                   -d '{"email":"${users.emails[1] ?? email}","password":"${users.password}"}'`,
    ],
  ]
  const lines = rows
    .filter(([, value]) => value !== undefined && value !== false)
    .map(([label, value]) => (label === '' ? '' : `  ${label.padEnd(15)}${value}`))
  return `\n${name} is running. Ctrl-C stops it; the data stays in ${folder}.\n\n${lines.join('\n')}\n`
}

const capitalise = (word: string) => word.slice(0, 1).toUpperCase() + word.slice(1)
