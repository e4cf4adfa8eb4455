import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { rolldown } from 'rolldown'

/**
 * Makes what the image holds, of a repository that was built: every program at the path that it has there, with all that
 * it imports in a few files instead of a thousand, and beside them what cannot be bundled.
 *
 *   node image/bundle.mjs FOLDER
 *
 * Programs that are bundled start in half the time. Nothing is minified, so that a stack trace names functions and lines
 * that can be read.
 */
const root = fileURLToPath(new URL('..', import.meta.url))
const [, , folder] = process.argv
if (folder === undefined || existsSync(folder)) {
  process.stderr.write('Name a folder that is not there yet: node image/bundle.mjs FOLDER\n')
  process.exit(1)
}

const programs = [
  'cli/dist/sallyport.js',
  'gateway/dist/server.js',
  'prisma/dist/migrate.js',
  'services/appointments/dist/server.js',
  'services/auth/dist/passwords/hashing-process.js',
  'services/auth/dist/server.js',
  'services/notifications/dist/nightly.js',
  'services/notifications/dist/server.js',
  'web/dist/server/server.js',
]

/** What the programs read. */
const files = [
  'LICENSE',
  'cli/bin',
  'gateway/routes',
  'gateway/routes.yaml',
  'packages/chassis/package.json',
  'prisma/migrations',
  'web/dist/page',
]

/** With native code or a wasm file of their own, and what these need. */
const unbundled = ['@phc/format', '@prisma/schema-engine-wasm', 'argon2', 'bcrypt', 'node-gyp-build']

/** Only asked for where there is a configuration in TypeScript, or in development. */
const absent = ['typescript', '@fastify/swagger', '@fastify/swagger-ui']

const isOf = (names) => (id) => names.some((name) => id === name || id.startsWith(`${name}/`))
const isExternal = isOf([...unbundled, ...absent])

/** Where a module of ours lay before it was bundled, since it looks for files from there. */
const marker = /"bundled-from:([^"]+)"/g
const places = {
  name: 'places',
  transform: {
    filter: { id: /\.js$/, code: /import\.meta\./ },
    handler(code, id) {
      if (id.includes('node_modules')) return
      const here = JSON.stringify(`bundled-from:${relative(root, id)}`)
      return code
        .replaceAll('import.meta.url', here)
        .replaceAll('import.meta.filename', `process.getBuiltinModule('node:url').fileURLToPath(${here})`)
    },
  },
  renderChunk: (code, { fileName }) =>
    code.replace(marker, (_, path) => {
      const way = relative(dirname(fileName), path)
      return `new URL(${JSON.stringify(way.startsWith('.') ? way : `./${way}`)}, import.meta.url).href`
    }),
}

/** Prisma's compiler of queries comes as text in a module; as the file that it is nothing has to parse it. */
const compiler = 'dist/query-compiler.wasm'
const wasm = {
  name: 'wasm',
  transform: {
    filter: { id: /wasm-base64\.mjs$/ },
    async handler(_, id) {
      const { wasm: text } = await import(id)
      mkdirSync(join(folder, 'dist'), { recursive: true })
      writeFileSync(join(folder, compiler), Buffer.from(text, 'base64'))
      return `import { readFileSync } from 'node:fs'
export const wasm = readFileSync(new URL("bundled-from:${compiler}"))`
    },
  },
}

const bundle = await rolldown({
  cwd: root,
  input: Object.fromEntries(programs.map((path) => [path.replace(/\.js$/, ''), path])),
  platform: 'node',
  external: isExternal,
  plugins: [places, wasm],
})
const { output } = await bundle.write({
  dir: folder,
  format: 'esm',
  entryFileNames: '[name].js',
  chunkFileNames: 'dist/[name]-[hash].js',
  comments: { legal: false, annotation: false, jsdoc: false },
})

const copy = (path, filter) =>
  cpSync(join(root, path), join(folder, path), { recursive: true, dereference: true, filter })
for (const path of files) copy(path)
writeFileSync(join(folder, 'package.json'), '{ "type": "module" }\n')
mkdirSync(join(folder, 'node_modules/.bin'), { recursive: true })
symlinkSync('../../cli/bin/sallyport.js', join(folder, 'node_modules/.bin/sallyport'))

/** What runs, and its licences: not what it was built of, nor what was built for machines that are not like the image. */
const isNeeded = (path) =>
  statSync(path).isDirectory()
    ? !/[\\/](examples?|tests?|src|deps|\.github)$/.test(path) &&
      (basename(dirname(path)) !== 'prebuilds' || basename(path) === `${process.platform}-${process.arch}`)
    : /\.([cm]?js|json|node|wasm)$|licen[cs]e$/i.test(path) && !path.includes('musl')
for (const name of unbundled) copy(`node_modules/${name}`, isNeeded)

/** Finds a package as Node does from a folder. */
function find(name, from) {
  const found = join(from, 'node_modules', name)
  return existsSync(found) ? found : find(name, dirname(from))
}

/** The packages that are in what was bundled, by their folders: here, and before in the page of the web app. */
const packages = new Set(
  output
    .flatMap(({ modules }) => Object.keys(modules ?? {}))
    .map((id) => /^.*\/node_modules\/(@[^/]+\/)?[^/]+/.exec(id)?.[0])
    .filter((found) => found !== undefined),
)
const read = (path) => JSON.parse(readFileSync(join(path, 'package.json'), 'utf8'))
function add(names, from) {
  for (const found of names.filter((name) => !name.startsWith('@sallyport/')).map((name) => find(name, from))) {
    if (packages.has(found)) continue
    packages.add(found)
    add(Object.keys(read(found).dependencies ?? {}), found)
  }
}
const isInPage = (name) => name !== 'vite' && !name.startsWith('@types/')
add(Object.keys(read(join(root, 'web')).devDependencies).filter(isInPage), join(root, 'web'))
for (const path of ['packages/client', 'packages/react'])
  add(Object.keys(read(join(root, path)).dependencies ?? {}), join(root, path))

const notices = [...packages].sort().map((path) => {
  const { name, version, license } = read(path)
  const texts = readdirSync(path).filter((file) => /^(licen[cs]e|notice|copying)/i.test(file))
  const text = texts.map((file) => readFileSync(join(path, file), 'utf8').trim()).join('\n\n')
  return `${name} ${version}: ${license}\n\n${text}\n`
})
writeFileSync(join(folder, 'THIRD-PARTY-LICENSES'), notices.join(`\n${'-'.repeat(80)}\n\n`))
