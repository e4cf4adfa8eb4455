import { generateKeyPairSync } from 'node:crypto'
import { createAssertions, type Identity } from '@sallyport/identity'
import t, { type Test } from 'tap'
import { exampleOf } from '../support/examples.ts'
import { installPacked } from '../support/packed.ts'

// Projects are installed here, and a machine may have to fetch every package of them.
t.setTimeout(900_000)

const { publicKey, privateKey } = generateKeyPairSync('ec', {
  namedCurve: 'P-256',
  publicKeyEncoding: { type: 'spki', format: 'pem' },
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
})
const doctor: Identity = {
  caller: 'user',
  userId: 'user-1',
  email: 'doctor@example.com',
  role: 'doctor',
  roles: ['doctor'],
  sessionId: 'session-1',
}

const readme = (language: string, heading?: string) => exampleOf('packages/identity/README.md', language, heading)

/** Types are checked in packages too. */
const compilerOptions = {
  target: 'es2023',
  module: 'nodenext',
  types: ['node'],
  strict: true,
  exactOptionalPropertyTypes: true,
  skipLibCheck: false,
  experimentalDecorators: true,
  emitDecoratorMetadata: true,
}

/** What a service says to somebody signed in, and to nobody. */
const ask = `
  export async function ask(origin: string) {
    const asked: Record<string, string>[] = [{ 'x-identity-token': process.env.TOKEN ?? '' }, {}]
    for (const headers of asked) {
      const response = await fetch(origin + '/api/reports/mine', { headers })
      console.log(response.status, response.headers.get('content-type'), await response.text())
    }
  }`

const problem =
  '{"type":"urn:sallyport:problem:token-missing","title":"Sign in first","status":401,"code":"TOKEN_MISSING","error":"Sign in first"}'

/** A project of a stranger in TypeScript, with these packages beside ours and no other. */
async function projectWith(t: Test, packages: Record<string, string>) {
  const others = { '@types/node': '20.19.43', typescript: '6.0.3', ...packages }
  const project = await installPacked(t, ['@sallyport/verify', '@sallyport/identity'], others)
  project.write('tsconfig.json', JSON.stringify({ compilerOptions }))
  project.write('trust.ts', readme('ts', 'Guards').replace('const trust', 'export const trust'))
  project.write('ask.ts', ask)
  return {
    ...project,
    /** Checks and compiles the project, runs a file of it, and returns the lines that it printed. */
    async runs(file: string) {
      await project.run(['tsc'])
      return (await start(file)).trim().split('\n')
    },
    start,
  }
  function start(file: string, key = publicKey) {
    const { token } = createAssertions(privateKey).sign(doctor, 'reports')
    return project.run(['env', `IDENTITY_PUBLIC_KEY=${key}`, `TOKEN=${token}`, 'node', file])
  }
}

const imports = `import { ask } from './ask.js'\nimport { trust } from './trust.js'\n`
const isAnswered = (t: Test, [known = '', unknown = '', ...more]: string[]) => {
  t.match(known, /^200 .*doctor@example\.com/)
  t.match(unknown, `401 application/problem+json`)
  t.ok(unknown.endsWith(problem), unknown)
  t.strictSame(more, [])
}

t.test('in an empty project with Express', async (t) => {
  const { write, run, runs, start } = await projectWith(t, { express: '5.3.0', '@types/express': '5.0.6' })
  const listening = `const server = app.listen(0, async () => {
    await ask('http://localhost:' + server.address().port)
    server.close()
  })`
  const code = readme('js').replace('app.listen(5010)', listening)
  const ofGuide = exampleOf('docs/service.md', 'js', 'In Express').replace('app.listen(5010)', listening)

  t.test('what documents show works as it stands', async (t) => {
    for (const shown of [code, ofGuide]) {
      write('reports.mjs', `import { ask } from './ask.js'\n${shown}`)
      isAnswered(t, await runs('reports.mjs'))
      await t.rejects(start('reports.mjs', ''), /publicKeys\[0\] holds no PEM of a public key.*`openssl pkey -pubout`/)
    }
  })

  t.test('has types', async (t) => {
    const typed = code.replace(/^const trust = .*$/m, '').replaceAll('req.identity.', 'req.identity?.')
    write('typed.ts', imports + typed.replace('server.address().port', '(server.address() as { port: number }).port'))
    isAnswered(t, await runs('typed.js'))
    write(
      'wrong.ts',
      `${imports}import { requireRole } from '@sallyport/identity/express'\nrequireRole('doctor', trust)`,
    )
    await t.rejects(run(['tsc']), /is not assignable to parameter of type 'readonly string\[\]'/)
  })
})

t.test('in an empty project with Hono', async (t) => {
  const { write, run, runs } = await projectWith(t, { hono: '4.13.19', '@hono/node-server': '2.1.9' })
  write(
    'reports.ts',
    `${imports}${readme('ts', 'In Hono')}
     import { serve } from '@hono/node-server'
     const server = serve({ fetch: app.fetch, port: 0 }, async ({ port }) => {
       await ask('http://localhost:' + port)
       server.close()
     })`,
  )
  isAnswered(t, await runs('reports.js'))

  t.test('the types need none of Node', async () => {
    const options = { ...compilerOptions, types: [], lib: ['es2023', 'dom'], noEmit: true }
    write('edge/tsconfig.json', JSON.stringify({ compilerOptions: options }))
    write(
      'edge/edge.ts',
      `import { requireRole } from '@sallyport/identity/hono'\nrequireRole(['doctor'], { verify: false })`,
    )
    await run(['tsc', '--project', 'edge'])
  })
})

t.test('in an empty project with Nest', async (t) => {
  const version = '12.5.1'
  const { write, runs } = await projectWith(t, {
    '@nestjs/common': version,
    '@nestjs/core': version,
    '@nestjs/platform-express': version,
    'reflect-metadata': '0.2.2',
    rxjs: '7.8.2',
  })
  write('reports.ts', `import { trust } from './trust.js'\n${readme('ts', 'In Nest')}`)
  write(
    'main.ts',
    `import 'reflect-metadata'
     import { Module } from '@nestjs/common'
     import { NestFactory } from '@nestjs/core'
     import { ask } from './ask.js'
     import { Reports } from './reports.js'
     @Module({ controllers: [Reports] })
     class App {}
     const app = await NestFactory.create(App, { logger: false })
     await app.listen(0)
     await ask('http://localhost:' + app.getHttpServer().address().port)
     await app.close()`,
  )
  isAnswered(t, await runs('main.js'))
})

t.test('in an empty project with Fastify', async (t) => {
  const { write, runs } = await projectWith(t, { fastify: '5.12.8' })
  write(
    'reports.ts',
    `${imports}import Fastify from 'fastify'
     const app = Fastify()
     ${readme('js', 'In Fastify')}
     await ask(await app.listen())
     await app.close()`,
  )
  const [known, unknown] = await runs('reports.js')
  t.match(known, '200 application/json; charset=utf-8 {"of":"doctor@example.com"}')
  t.match(unknown, /^401 .*"code":"TOKEN_MISSING"/)
})

t.test('in an empty project without a framework', async (t) => {
  const { write, runs } = await projectWith(t, {})
  write(
    'reports.ts',
    imports +
      readme('js', 'In plain Node').replace(
        /createServer\([\s\S]*\)\.listen\(5010\)/,
        (server) => `const server = ${server.replace('5010', '0')}
         server.once('listening', async () => {
           await ask('http://localhost:' + (server.address() as { port: number }).port)
           server.close()
         })`,
      ),
  )
  isAnswered(t, await runs('reports.js'))
})
