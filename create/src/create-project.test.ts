import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { createProject } from './create-project.ts'
import { proxies } from './options.ts'

// What npm runs before it packs.
execFileSync(process.execPath, [fileURLToPath(new URL('../prepack.mjs', import.meta.url))])
const usual = { issuer: 'own', audience: 'api', database: 'local', proxy: 'none' } as const

t.test('a project is made in a new folder or an empty one, for every proxy', async (t) => {
  const folder = t.testdir({ empty: {} })
  await createProject(join(folder, 'empty'), async () => usual)
  const manifest = JSON.parse(readFileSync(join(folder, 'empty/package.json'), 'utf8'))
  t.match(manifest.dependencies, { '@sallyport/auth': /^\d/, fastify: /^\d/ })
  for (const proxy of proxies) {
    await createProject(join(folder, proxy), async () => ({ ...usual, proxy }))
    t.ok(readdirSync(join(folder, proxy, 'proxy/local')).length > 0, proxy)
  }
  t.match(readFileSync(join(folder, 'nginx/proxy/local/nginx.conf'), 'utf8'), /include sallyport.conf/)
})

t.test('another issuer needs no auth service, and a database its address alone', async (t) => {
  const folder = t.testdir()
  await createProject(join(folder, 'issuer'), async () => ({ ...usual, issuer: 'https://login.example.com' }))
  const { dependencies } = JSON.parse(readFileSync(join(folder, 'issuer/package.json'), 'utf8'))
  t.notOk(dependencies['@sallyport/auth'])
  await createProject(join(folder, 'url'), async () => ({ ...usual, database: 'postgresql://a:b@db/c' }))
  t.equal(readFileSync(join(folder, 'url/.env'), 'utf8'), 'DATABASE_URL=postgresql://a:b@db/c\n')
})

t.test('packages come from tarballs if those are all there', async (t) => {
  const folder = t.testdir({ few: { 'sallyport-auth-0.1.0.tgz': '' }, all: {} })
  await t.rejects(
    createProject(join(folder, 'app'), async () => usual, join(folder, 'few')),
    {
      message: /has no tarball of @sallyport\//,
    },
  )
  t.notOk(existsSync(join(folder, 'app')), 'nothing is left')
  const names = ['auth', 'chassis', 'cli', 'client', 'database', 'gateway', 'identity', 'local', 'react', 'verify']
  for (const name of names) writeFileSync(join(folder, 'all', `sallyport-${name}-0.1.0.tgz`), '')
  await createProject(join(folder, 'app'), async () => usual, join(folder, 'all'))
  const { dependencies } = JSON.parse(readFileSync(join(folder, 'app/package.json'), 'utf8'))
  t.equal(dependencies['@sallyport/auth'], 'file:packages/sallyport-auth-0.1.0.tgz')
  t.notOk(existsSync(join(folder, 'app/packages/sallyport-react-0.1.0.tgz')))
})

t.test('what is there stays as it is', async (t) => {
  const folder = t.testdir({ full: { file: '' } })
  mkdirSync(join(folder, 'other'))
  const ask = async () => t.fail('nothing is asked') as never
  await t.rejects(createProject(join(folder, 'full'), ask), { message: /is there already, and not empty/ })
  await t.rejects(createProject(join(folder, 'No Name'), ask), { message: /cannot be the name of a project/ })
})
