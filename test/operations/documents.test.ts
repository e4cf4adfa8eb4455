import { execFileSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createAssertions, identityHeaders } from '@sallyport/identity'
import t from 'tap'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const read = (file: string) => readFileSync(join(root, file), 'utf8')
const tracked = (pattern: string) =>
  execFileSync('git', ['ls-files', pattern], { cwd: root, encoding: 'utf8' }).trim().split('\n')
const documents = tracked('*.md')

/** What is not code: there a bracket is no link, and a # no heading. */
const proseOf = (text: string) =>
  text.replace(/^```[\s\S]*?^```/gm, '').replace(/`[^`\n]*`/g, (code) => code.replace(/[[\]]/g, ''))

/** The anchors that GitHub gives the headings of a document. */
function anchorsOf(file: string): Set<string> {
  const anchors = new Set<string>()
  for (const [, heading = ''] of read(file)
    .replace(/^```[\s\S]*?^```/gm, '')
    .matchAll(/^#+ (.*)$/gm)) {
    const slug = heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}_\- ]/gu, '')
      .replaceAll(' ', '-')
    let anchor = slug
    for (let count = 1; anchors.has(anchor); count++) anchor = `${slug}-${count}`
    anchors.add(anchor)
  }
  return anchors
}

t.test('every relative link of a document leads somewhere', async (t) => {
  t.ok(documents.includes('README.md'), 'the documents are found')
  for (const document of documents)
    for (const [link, path = '', anchor] of proseOf(read(document)).matchAll(
      /(?<=\]\()(?![a-z]+:)([^)#\s]*)(?:#([^)\s]*))?(?=\))/g,
    )) {
      const target = path === '' ? document : relative(root, join(root, dirname(document), path))
      const isThere = existsSync(join(root, target)) && (anchor === undefined || anchorsOf(target).has(anchor))
      t.ok(isThere, `${document}: ${link}`)
    }
})

t.test('every document of docs is in the index', async (t) => {
  const index = read('docs/README.md')
  for (const document of documents.filter((name) => /^docs\/(?!README)/.test(name)))
    t.ok(index.includes(`](${document.slice('docs/'.length)})`), document)
})

t.test('docs/configuration.md is what `npm run docs:configuration` writes now', async (t) => {
  const check = [join(root, 'docs/configuration.mjs'), '--check']
  t.doesNotThrow(() => execFileSync(process.execPath, check, { stdio: ['ignore', 'ignore', 'pipe'] }))
})

t.test('docs/command-line.md is what `npm run docs:command-line` writes now', async (t) => {
  const check = [join(root, 'docs/command-line.mjs'), '--check']
  t.doesNotThrow(() => execFileSync(process.execPath, check, { stdio: ['ignore', 'ignore', 'pipe'] }))
})

t.test(
  '.env.example has the settings of docs/configuration.md, and no others but those of the route file',
  async (t) => {
    const documented = [...read('docs/configuration.md').matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name)
    const example = [...read('.env.example').matchAll(/^(\w+)=/gm)].map(([, name]) => name)
    const ofRoutes = [...read('gateway/routes.yaml').matchAll(/\$\{(\w+)\}/g)].map(([, name]) => name)
    const ofOneProcess = (name = '') => !/_MANAGEMENT_PORT$/.test(name)
    const sorted = (names: (string | undefined)[]) => [...new Set(names)].sort()
    t.strictSame(sorted(example), sorted([...documented.filter(ofOneProcess), ...ofRoutes]))
  },
)

t.test('docs/services.md names what the gateway writes, and no other claims than are documented', async (t) => {
  const readme = read('packages/identity/README.md')
  const claims = [...readme.matchAll(/^\| (`.*?) +\|/gm)].flatMap(([, names = '']) =>
    [...names.matchAll(/`([a-z]\w*)`/g)].map(([, name]) => name),
  )
  t.ok(
    ['iss', 'aud', 'sub', 'caller', 'roles', 'exp'].every((name) => claims.includes(name)),
    'the table is found',
  )
  // As the gateway signs it.
  const { privateKey } = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  })
  const person = { caller: 'user' as const, userId: 'u', email: 'a@b', role: 'r', roles: ['r'], sessionId: 's' }
  const { token } = createAssertions(privateKey).sign(person, 'reports')
  const [header, body] = token.split('.').map((part) => Buffer.from(part, 'base64url').toString())
  const values: Record<string, unknown> = { ...JSON.parse(header as string), ...JSON.parse(body as string) }
  const services = read('docs/services.md')
  for (const language of ['java', 'csharp']) {
    const [, block = ''] = new RegExp(`^\`\`\`${language}\n([\\s\\S]*?)^\`\`\``, 'm').exec(services) ?? []
    for (const value of [identityHeaders.assertion, values.iss, values.typ])
      t.ok(block.includes(`"${value}"`), `${language}: ${value}`)
    const named = [
      ...block.matchAll(/(?:getClaim|withClaimPresence|RequireClaim|FindFirstValue|ClaimType =)[( ]"(\w+)"/g),
    ]
    t.ok(named.length >= 4, `${language}: ${named.length} claims`)
    for (const [, name = ''] of named) t.ok(claims.includes(name) && name in values, `${language}: the claim ${name}`)
    const codes = [...block.matchAll(/"([A-Z]+_[A-Z]+)"/g)].map(([, code]) => code)
    for (const code of codes) t.match(read('docs/api.md'), `| \`${code}\` |`, `${language}: the code ${code}`)
  }
  for (const file of ['examples/python/identity.py', 'examples/go/identity/verifier.go'])
    for (const value of [values.iss, values.typ]) t.ok(read(file).includes(`"${value}"`), `${file}: ${value}`)
})

t.test('every test that docs/asvs.md names is there', async (t) => {
  const tests = [...tracked('*.test.ts'), 'test/support/forged-tokens.ts'].map(read).join('\n').replaceAll("\\'", "'")
  const rows = [...read('docs/asvs.md').matchAll(/^\| V(?:\d+\.){2}\d+ \|.*\|(.*)\|$/gm)]
  t.ok(rows.length > 80, 'the table is found')
  for (const [row, evidence = ''] of rows) {
    const [, ...names] = evidence.split('“').map((part) => part.split('”')[0] as string)
    for (const name of names) t.ok(tests.includes(name), `${row.slice(2, 9)}: ${name}`)
  }
})
