import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { packedPackages } from '../support/packed.ts'
import { temporaryFolder } from '../support/system.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const { readTarball, shortcomingsOf, staleCode, withoutLinksOut } = await import(join(root, '.ci/release.mjs'))

// A machine may have to fetch what npm knows of every package.
t.setTimeout(300_000)

const filesOf = (tarball: string): Promise<Map<string, string>> => readTarball(readFileSync(tarball))
const tarballOf = async (name: string) => (await packedPackages()).get(name)?.tarball as string

t.test('npm run release makes tarballs, their checksums and a bill of materials', async (t) => {
  const folder = join(temporaryFolder(t), 'release')
  const release = () => spawnSync(process.execPath, [join(root, '.ci/release.mjs'), folder], { encoding: 'utf8' })
  const { status, stderr } = release()
  t.equal(status, 0, stderr)
  const names = [...(await packedPackages()).values()].map(({ tarball }) => basename(tarball))
  t.strictSame(readdirSync(folder).sort(), ['SHA256SUMS', ...names, 'sbom.cdx.json'].sort())
  const sumOf = (name: string) =>
    createHash('sha256')
      .update(readFileSync(join(folder, name)))
      .digest('hex')
  t.equal(readFileSync(join(folder, 'SHA256SUMS'), 'utf8'), names.map((name) => `${sumOf(name)}  ${name}\n`).join(''))
  for (const { tarball } of (await packedPackages()).values())
    t.ok(readFileSync(tarball).equals(readFileSync(join(folder, basename(tarball)))), `${tarball} is the same again`)

  const { bomFormat, components } = JSON.parse(readFileSync(join(folder, 'sbom.cdx.json'), 'utf8'))
  const found: string[] = components.map((each: { name: string }) => each.name)
  t.equal(bomFormat, 'CycloneDX')
  for (const name of [...(await packedPackages()).keys(), 'fastify', 'jose', 'pg']) t.ok(found.includes(name), name)
  for (const name of ['tap', 'typescript', 'vite']) t.notOk(found.includes(name), name)

  const again = release()
  t.equal(again.status, 1)
  t.match(again.stderr, 'release is not empty')
})

t.test('no package is released', async (t) => {
  const whole = await filesOf(await tarballOf('@sallyport/react'))
  const released = new Map([...(await packedPackages()).values()].map(({ name, version }) => [name, version]))
  const manifest = JSON.parse(whole.get('package.json') as string)
  const without = (pattern: RegExp) => new Map([...whole].filter(([path]) => !pattern.test(path)))
  const and = (path: string, text: string) => new Map(whole).set(path, text)
  const saying = (change: object) => and('package.json', JSON.stringify({ ...manifest, ...change }))
  const needing = (name: string, version: string) => saying({ dependencies: { [name]: version } })
  const importing = "import 'node:fs'\nimport t from 'tap'\nexport * from './a.js'\nawait import('@scope/later/deep')\n"
  const cases: [string, Map<string, string>, ...string[]][] = [
    ['without code', without(/\.js$/), 'has no code'],
    ['without types', without(/index\.d\.ts$/), 'has no types of dist/index.js'],
    ['without a README', without(/README/), 'has no README.md'],
    [
      'with a README that leads out of it',
      and('README.md', 'See [that](../that.md).'),
      'has a link in README.md that leads out of it',
    ],
    ['with an empty licence', and('LICENSE', '\n'), 'has no LICENSE'],
    ['that names no licence', saying({ license: undefined }), 'has no license'],
    ['with a test', and('dist/a.test.d.ts', ''), 'has a test, dist/a.test.d.ts'],
    ['that depends on a range', needing('jose', '^6.0.0'), 'depends on jose ^6.0.0, which is not exact'],
    [
      'that depends on what stays in the repository',
      needing('@sallyport/web', '0.1.0'),
      'depends on @sallyport/web 0.1.0, which is not released with it',
    ],
    [
      'that imports what it does not depend on',
      and('dist/index.js', importing),
      'imports tap in dist/index.js, and does not depend on it',
      'imports @scope/later in dist/index.js, and does not depend on it',
    ],
    [
      'without a source map that it names',
      without(/index\.js\.map$/),
      'has a source map of dist/index.js that leads nowhere',
    ],
    [
      'with a source map of files that it does not have',
      and('dist/index.js.map', '{"sources":["../src/index.ts"]}'),
      'has a source map of dist/index.js that leads nowhere',
    ],
  ]
  t.strictSame(shortcomingsOf(whole, released), [], 'but one that has everything')
  for (const [which, files, ...shortcomings] of cases)
    t.strictSame(shortcomingsOf(files, released), shortcomings, which)
})

t.test('a README names the documents that its links lead to in the repository', async (t) => {
  const readme = `[docs/a.md](../../docs/a.md#part), [the
parts](../../docs/b.md), [its own](#below), [theirs](https://example.com/) and [a sibling](../b/README.md#c)`
  t.equal(
    withoutLinksOut(readme, 'packages/a'),
    `docs/a.md, the
parts (docs/b.md), [its own](#below), [theirs](https://example.com/) and a sibling (packages/b/README.md)`,
  )
})

t.test('code whose source is gone is found', async (t) => {
  const files = await filesOf(await tarballOf('@sallyport/react'))
  const folder = join(root, 'packages/react')
  t.strictSame(staleCode(files, folder), [])
  files.set('dist/old.js.map', '{"sources":["../src/old.ts"]}')
  t.strictSame(staleCode(files, folder), ['dist/old.js.map'])
})

t.test('a repository where nothing was built', async (t) => {
  const clone = temporaryFolder(t)
  const isSource = (path: string) => !/\/(dist|node_modules|LICENSE)$|\.tsbuildinfo$/.test(path)
  for (const path of ['.ci', 'packages/client'])
    cpSync(join(root, path), join(clone, path), { recursive: true, filter: isSource })
  for (const path of ['package.json', 'tsconfig.base.json', 'LICENSE']) cpSync(join(root, path), join(clone, path))
  symlinkSync(join(root, 'node_modules'), join(clone, 'node_modules'))

  t.test('npm pack of one package compiles it', async (t) => {
    const packed = spawnSync('npm', ['pack', '--silent', '--ignore-scripts=false', '-w', 'packages/client'], {
      cwd: clone,
      encoding: 'utf8',
    })
    t.equal(packed.status, 0, packed.stderr)
    const files = await filesOf(join(clone, packed.stdout.trim()))
    t.strictSame([...files.keys()].sort(), [...(await filesOf(await tarballOf('@sallyport/client'))).keys()].sort())
  })

  t.test(
    'a release of which a package lacks something ends with a line that says so, and leaves nothing',
    async (t) => {
      rmSync(join(clone, 'packages/client/README.md'))
      const { INIT_CWD: _, ...env } = process.env
      const release = (...folder: string[]) =>
        spawnSync(process.execPath, ['.ci/release.mjs', ...folder], { cwd: clone, env, encoding: 'utf8' })
      const { status, stderr } = release('release')
      t.strictSame([status, stderr], [1, '@sallyport/client has no README.md\n'])
      t.notOk(existsSync(join(clone, 'release')))
      t.match(release().stderr, /^Say where to/)
    },
  )
})

/** Bytes of what is installed of each package. */
const unpacked: Record<string, number> = {
  '@sallyport/auth': 1_950_000,
  '@sallyport/chassis': 240_000,
  '@sallyport/cli': 345_000,
  '@sallyport/client': 245_000,
  '@sallyport/database': 3_600_000,
  '@sallyport/gateway': 925_000,
  '@sallyport/identity': 195_000,
  '@sallyport/local': 195_000,
  '@sallyport/react': 36_000,
  '@sallyport/verify': 290_000,
  'create-sallyport': 105_000,
}

t.test('what is installed of a package is no more than it was', async (t) => {
  t.strictSame(Object.keys(unpacked).sort(), [...(await packedPackages()).keys()].sort())
  for (const [name, bound] of Object.entries(unpacked)) {
    const files = [...(await filesOf(await tarballOf(name))).values()]
    const bytes = files.reduce((sum, text) => sum + Buffer.byteLength(text), 0)
    t.comment(`${name}: ${bytes} bytes`)
    t.ok(bytes < bound, `${name}: ${bytes} bytes`)
  }
})
