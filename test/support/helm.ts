import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Ajv } from 'ajv'
import { parse, parseAllDocuments } from 'yaml'
import type { KubernetesObject } from './kubernetes.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const chart = join(root, 'charts/sallyport')
const has = (program: string, ...words: string[]) => spawnSync(program, words).status === 0

/** Helm itself, or a program that does what of it this chart needs, which takes Go and Debian's packages of its libraries. */
const renderer = has('helm', 'version') ? 'helm' : buildRenderer()

export const withoutHelm = renderer ? false : 'install helm, or Go and golang-github-masterminds-sprig-dev, to run this'

function buildRenderer(): string | undefined {
  const program = join(root, 'test/dist/render-chart')
  const build = spawnSync('go', ['build', '-o', program, join(root, 'test/support/helm/main.go')], {
    env: { ...process.env, GO111MODULE: 'off', GOPATH: '/usr/share/gocode', GOFLAGS: '' },
  })
  return build.status === 0 ? program : undefined
}

const validate = new Ajv({ strict: false }).compile(JSON.parse(readFileSync(join(chart, 'values.schema.json'), 'utf8')))

type Values = { [name: string]: unknown }
const isMap = (value: unknown): value is Values => typeof value === 'object' && value !== null && !Array.isArray(value)
const merge = (base: Values, over: Values): Values =>
  Object.fromEntries(
    [...new Set([...Object.keys(base), ...Object.keys(over)])].map((key) => {
      const [below, above] = [base[key], over[key]]
      return [key, isMap(below) && isMap(above) ? merge(below, above) : key in over ? above : below]
    }),
  )

/** What values.schema.json has against values, on top of those of the chart. */
export function faultsOf(values: Values): string[] {
  validate(merge(parse(readFileSync(join(chart, 'values.yaml'), 'utf8')), values))
  return (validate.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`)
}

/** Renders the chart as `helm template` does. */
export function renderChart(values: Values): KubernetesObject[] {
  const faults = faultsOf(values)
  if (faults.length > 0) throw new Error(faults.join('\n'))
  const words =
    renderer === 'helm'
      ? ['template', 'sallyport', chart, '--namespace', 'sallyport', '--values', '-']
      : [chart, 'sallyport', 'sallyport']
  const yaml = execFileSync(renderer as string, words, { input: JSON.stringify(values), encoding: 'utf8' })
  return parseAllDocuments(yaml)
    .map((document) => document.toJS())
    .filter((object) => object !== null)
}
