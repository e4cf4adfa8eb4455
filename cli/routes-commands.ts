import { type Answer, answering } from './answer.ts'
import { type Decision, decide, explainRoutes, type Question } from './explain-routes.ts'
import type { AddCommands, Io } from './io.ts'
import { tableOf } from './table.ts'

interface Options {
  path?: string
  method?: string
  host?: string
  json?: boolean
}

type Report = ReturnType<typeof explainRoutes>['report']

export const addRoutes: AddCommands = (program, io) => {
  const routes = program.command('routes').description('route files: docs/routes.md')
  const about = (name: string, description: string) =>
    routes
      .command(name)
      .argument('<file>', 'the route file')
      .option('--method <method>', 'of the request (GET if not given)')
      .option('--host <host>', 'that the request names')
      .description(description)
  const path = '--path <path>'
  about('check', 'whom the routes of a file are for, and what is doubtful')
    .option(path, 'as `explain` does')
    .action(answering(io, (file: string, options: Options) => check(file, options, io)))
  about('explain', 'which route takes a request, and why')
    .requiredOption(path, 'of the request')
    .action(answering(io, (file: string, options: Options) => check(file, options, io)))
}

/** That a file is not sound is an answer, and not a failure to give one. */
function check(file: string, { path, method, host, json }: Options, { env }: Io): Answer {
  if (path === undefined && (method ?? host) !== undefined) throw new Error('--method and --host go with --path')
  try {
    const { lookup, report } = explainRoutes(file, env)
    if (path === undefined) return { value: { valid: true, ...report }, lines: reportLines(report) }
    const question: Question = { path, method: method ?? 'GET', host }
    const decision = decide(lookup, question)
    const value = { valid: true, ...report, request: { ...question, ...decision } }
    return { value, lines: linesOf(question, decision) }
  } catch (error) {
    if (!json) throw error
    return { value: { valid: false, fault: (error as Error).message }, lines: [], failed: true }
  }
}

function linesOf({ path, method, host }: Question, decision: Decision): string[] {
  const request = `${method} ${host === undefined ? '' : `${host} `}${path}`
  if ('status' in decision) return [`${request} is ${decision.status} ${decision.code}`, `  because ${decision.reason}`]
  const { route, rule, access, upstreams, websocket } = decision
  return [
    `${request} is for ${route}`,
    `  because ${rule}`,
    `  for     ${access}`,
    `  sent to ${upstreams.join(', ')}`,
    ...(websocket ? ['  also as a WebSocket'] : []),
  ]
}

function reportLines(report: Report): string[] {
  const { file, routes, public: open, optional, serviceAccounts, severalIssuers, webSockets, warnings, unset } = report
  const rows = routes.map(({ name, access, upstreams, rewrite = '' }) => [
    name,
    access,
    upstreams.map((origin) => origin + rewrite).join(', '),
  ])
  return [
    `${file}: ${routes.length} ${routes.length === 1 ? 'route' : 'routes'}, sound`,
    '',
    ...tableOf([['route', 'for', 'upstream'], ...rows]),
    '',
    ...listOf('open to everyone', open),
    ...listOf('open to everyone, and a token is looked at', optional),
    ...listOf('for service accounts', serviceAccounts),
    ...listOf('for users of several issuers, whose ids may be the same (docs/issuers.md)', severalIssuers),
    ...listOf('takes WebSockets', webSockets),
    ...listOf('variables that a gateway needs, not set here', unset),
    ...listOf('warnings', warnings),
  ]
}

const listOf = (title: string, items: string[]) =>
  items.length === 0 ? [] : [`${title}:`, ...items.map((item) => `  ${item}`)]
