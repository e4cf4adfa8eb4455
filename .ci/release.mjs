// npm run release -- FOLDER: packs every package that is not private, those that others need first, and puts into the folder
// what a release consists of: the tarballs, SHA256SUMS, and a software bill of materials in the format of CycloneDX. A
// tarball that lacks something, or needs something that is not released with it, ends it.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { isBuiltin } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join, relative, resolve } from 'node:path'
import { unpack } from '@publint/pack'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'

const root = join(import.meta.dirname, '..')
const npm = (cwd, ...args) =>
  execFileSync('npm', ['--silent', ...args], { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })

const needsOf = ({ dependencies, peerDependencies }) => ({ ...dependencies, ...peerDependencies })

/** The manifests of the packages to release: each stands after those that it depends on. */
export function packagesToRelease() {
  const workspaces = JSON.parse(npm(root, 'query', '.workspace'))
  const released = new Map(workspaces.filter((each) => !each.private).map((each) => [each.name, each]))
  const ordered = new Set()
  const add = (each) => {
    for (const name of Object.keys(needsOf(each))) if (released.has(name)) add(released.get(name))
    ordered.add(each)
  }
  for (const each of released.values()) add(each)
  return [...ordered]
}

/**
 * Packs packages by name into a folder, each with a README whose links lead somewhere: those that leave the package name the
 * document in its place.
 *
 * @returns the file names of their tarballs, in that order
 */
export function pack(names, folder) {
  const staged = mkdtempSync(join(tmpdir(), 'sallyport-pack-'))
  try {
    const paths = new Map(JSON.parse(npm(root, 'query', '.workspace')).map(({ name, path }) => [name, path]))
    const workspaces = names.flatMap((name) => ['-w', name])
    const contents = JSON.parse(npm(root, 'pack', '--json', '--dry-run', '--ignore-scripts=false', ...workspaces))
    for (const [at, { name, files }] of contents.entries())
      for (const file of files) {
        const [from, to] = [join(paths.get(name), file.path), join(staged, String(at), file.path)]
        mkdirSync(dirname(to), { recursive: true })
        if (file.path !== 'README.md') copyFileSync(from, to)
        else writeFileSync(to, withoutLinksOut(readFileSync(from, 'utf8'), relative(root, paths.get(name))))
      }
    const folders = contents.map((_, at) => `./${at}`)
    const packed = npm(staged, 'pack', '--json', '--ignore-scripts', '--pack-destination', folder, ...folders)
    return JSON.parse(packed).map(({ filename }) => filename)
  } finally {
    rmSync(staged, { recursive: true })
  }
}

/** @param location of its package in the repository */
export const withoutLinksOut = (readme, location) =>
  readme.replace(/\[([^\]]+)\]\((\.\.\/[^)#\s]+)[^)\s]*\)/g, (_link, text, target) => {
    const document = join(location, target)
    return text === document ? document : `${text} (${document})`
  })

/** The files in a tarball by their paths in the package. */
export async function readTarball(bytes) {
  const { files, rootDir } = await unpack(new Uint8Array(bytes).buffer)
  return new Map(files.map(({ name, data }) => [name.slice(rootDir.length + 1), Buffer.from(data).toString()]))
}

/**
 * What a package lacks for whoever has nothing but its tarball.
 *
 * @param files by path
 * @param released versions of the packages that are released with it, by name
 */
export function shortcomingsOf(files, released) {
  const manifest = JSON.parse(files.get('package.json'))
  // What a new project is made of is that project's.
  const own = [...files.keys()].filter((path) => !path.startsWith('template/'))
  const code = own.filter((path) => path.endsWith('.js'))
  const needs = needsOf(manifest)
  return [
    ...['README.md', 'LICENSE'].filter((path) => !files.get(path)?.trim()).map((path) => `has no ${path}`),
    ...['description', 'license', 'engines', 'exports'].filter((key) => !manifest[key]).map((key) => `has no ${key}`),
    ...(/\]\(\.\.\//.test(files.get('README.md')) ? ['has a link in README.md that leads out of it'] : []),
    ...(code.length === 0 ? ['has no code'] : []),
    // Nobody imports a program.
    ...code
      .filter((path) => !path.startsWith('bin/') && !files.has(path.replace(/\.js$/, '.d.ts')))
      .map((path) => `has no types of ${path}`),
    ...own.filter((path) => path.includes('.test.')).map((path) => `has a test, ${path}`),
    ...Object.entries(manifest.dependencies ?? {})
      .filter(
        ([name, version]) =>
          !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version) || (isOurs(name) && released.get(name) !== version),
      )
      .map(
        ([name, version]) =>
          `depends on ${name} ${version}, which is ${isOurs(name) ? 'not released with it' : 'not exact'}`,
      ),
    ...code.flatMap((path) =>
      importsOf(files.get(path))
        .filter((name) => !(name in needs) && name !== manifest.name)
        .map((name) => `imports ${name} in ${path}, and does not depend on it`),
    ),
    ...[...files]
      .filter(([path, text]) => /\.(js|ts)$/.test(path) && !hasWholeMap(text, path, files))
      .map(([path]) => `has a source map of ${path} that leads nowhere`),
  ]
}

const isOurs = (name) => name.startsWith('@sallyport/')

/** The packages that compiled code imports. */
const importsOf = (text) => [
  ...new Set(
    [
      ...text.matchAll(
        /^(?:import|export)\s(?:[^'"]*\sfrom\s)?["']([^."'][^"']*)["']|\bimport\(["']([^."'][^"']*)["']\)/gm,
      ),
    ]
      .map(([, at, later]) => at ?? later)
      .filter((name) => !isBuiltin(name))
      .map((name) =>
        name
          .split('/')
          .slice(0, name.startsWith('@') ? 2 : 1)
          .join('/'),
      ),
  ),
]

/** Whether what a file names as its source map is there, and holds the sources. */
function hasWholeMap(text, path, files) {
  const [, name] = /^\/\/# sourceMappingURL=(.+)$/m.exec(text) ?? []
  if (name === undefined) return true
  const map = files.get(join(path, '..', name))
  return map !== undefined && JSON.parse(map).sourcesContent?.every((source) => source !== null) === true
}

/** Code of a file that was removed or renamed, which the compiler leaves where it is. */
export const staleCode = (files, folder) =>
  [...files.keys()].filter(
    (path) =>
      path.endsWith('.js.map') &&
      !JSON.parse(files.get(path)).sources.every((source) => existsSync(join(folder, path, '..', source))),
  )

/** @throws Error with a line for each shortcoming */
async function release(folder) {
  mkdirSync(folder, { recursive: true })
  if (readdirSync(folder).length > 0) throw new Error(`${folder} is not empty`)
  const packages = packagesToRelease()
  const released = new Map(packages.map(({ name, version }) => [name, version]))
  const names = [...released.keys()]
  const shortcomings = []
  const sums = []
  const filenames = pack(names, folder)
  for (const [at, filename] of filenames.entries()) {
    const bytes = readFileSync(join(folder, filename))
    const files = await readTarball(bytes)
    const { messages, pkg } = await publint({ pack: { tarball: new Uint8Array(bytes).buffer }, strict: true })
    const found = [
      ...shortcomingsOf(files, released),
      ...staleCode(files, packages[at].path).map(
        (path) => `has ${path}, whose source is gone: remove dist and build again`,
      ),
      ...messages.map((message) => formatMessage(message, pkg, { color: false })),
    ]
    shortcomings.push(...found.map((each) => `${names[at]} ${each}`))
    sums.push(`${createHash('sha256').update(bytes).digest('hex')}  ${filename}`)
    process.stdout.write(`${filename}  ${files.size} files, ${bytes.length} bytes\n`)
  }
  if (shortcomings.length > 0) {
    rmSync(folder, { recursive: true })
    throw new Error(shortcomings.join('\n'))
  }
  writeFileSync(join(folder, 'SHA256SUMS'), `${sums.join('\n')}\n`)
  writeFileSync(
    join(folder, 'sbom.cdx.json'),
    billOfMaterials(folder, new Map(names.map((name, at) => [name, filenames[at]]))),
  )
}

/**
 * What an installation of all of it consists of. Of an empty project: in a workspace npm leaves out of the bill whatever is a
 * devDependency anywhere.
 *
 * @param tarballs file names by the names of packages
 */
function billOfMaterials(folder, tarballs) {
  const temporary = mkdtempSync(join(tmpdir(), 'sallyport-bill-'))
  // npm names the whole by the folder.
  const cwd = join(temporary, 'sallyport')
  try {
    mkdirSync(cwd)
    const { name, version, license } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
    for (const filename of tarballs.values()) copyFileSync(join(folder, filename), join(cwd, filename))
    const dependencies = Object.fromEntries([...tarballs].map(([name, filename]) => [name, `file:${filename}`]))
    writeFileSync(join(cwd, 'package.json'), JSON.stringify({ name, version, license, dependencies }))
    npm(cwd, 'install', '--package-lock-only', '--ignore-scripts', '--prefer-offline', '--no-audit')
    return npm(cwd, 'sbom', '--package-lock-only', '--sbom-format=cyclonedx').replaceAll(`file:${cwd}/`, 'file:')
  } finally {
    rmSync(temporary, { recursive: true })
  }
}

if (process.argv[1] === import.meta.filename) {
  const [folder] = process.argv.slice(2)
  try {
    if (folder === undefined) throw new Error('Say where to: npm run release -- FOLDER')
    await release(resolve(process.env.INIT_CWD ?? '.', folder))
  } catch (error) {
    process.stderr.write(`${error.message}\n`)
    process.exitCode = 1
  }
}
