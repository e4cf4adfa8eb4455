import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Choices } from './options.ts'

interface Parts {
  versions: Record<string, string>
  allowScripts: Record<string, boolean>
}

interface Manifest {
  dependencies: Record<string, string>
  devDependencies: Record<string, string>
  [key: string]: unknown
}

/** The package.json of a project. Versions are exact: those of the packages that this one was packed with. */
export function manifestFor(name: string, { issuer, database }: Choices): Manifest {
  const { versions, allowScripts }: Parts = JSON.parse(
    readFileSync(new URL('../parts/manifest.json', import.meta.url), 'utf8'),
  )
  const pick = (...names: string[]) => Object.fromEntries(names.map((name) => [name, versions[name] as string]))
  const isOwn = issuer === 'own'
  const node = isOwn && database !== 'local' ? 'node --env-file=.env' : 'node'
  const of = (program: string) => `node_modules/@sallyport/${program}.js`
  return {
    name,
    version: '0.0.0',
    private: true,
    type: 'module',
    engines: { node: '>=20.19' },
    scripts: {
      start: `${node} start.js`,
      test: 'node --test --test-force-exit',
      routes: 'sallyport routes check routes.yaml',
      keys: 'sallyport keys',
      ...(isOwn && {
        migrate: `${node} ${of('database/dist/migrate')}`,
        'create-user': `${node} ${of('cli/bin/sallyport')} users create`,
      }),
    },
    dependencies: pick(
      ...(isOwn ? ['@sallyport/auth', '@sallyport/client', '@sallyport/database'] : []),
      ...['@sallyport/cli', '@sallyport/gateway', '@sallyport/identity', '@fastify/static', 'fastify'],
    ),
    devDependencies: pick('@sallyport/local', ...(isOwn ? [] : ['jose'])),
    allowScripts,
  }
}

/**
 * Has a project take its packages, and what they need of ours, from tarballs that lie in it.
 *
 * @returns the paths of these by their names
 * @throws Error if one is not there
 */
export function useTarballs({ dependencies, devDependencies }: Manifest, folder: string): Map<string, string> {
  const used = new Map<string, string>()
  const tarballs = readdirSync(folder).filter((file) => /^sallyport-.*\.tgz$/.test(file))
  const nameOf = (file: string) => file.replace(/^sallyport-(.*)-\d+\.\d+\.\d+.*\.tgz$/, '@sallyport/$1')
  for (const file of tarballs) {
    const name = nameOf(file)
    if (name === '@sallyport/react') continue
    const into = name in devDependencies ? devDependencies : dependencies
    into[name] = `file:packages/${file}`
    used.set(file, join(folder, file))
  }
  const all = { ...dependencies, ...devDependencies }
  const missing = Object.keys(all).find((name) => name.startsWith('@sallyport/') && !all[name]?.startsWith('file:'))
  if (missing !== undefined)
    throw new Error(`${folder} has no tarball of ${missing}; make it with \`npm run release -- FOLDER\``)
  return used
}
