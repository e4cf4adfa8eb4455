import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { join } from 'node:path'
import { createAssertionVerifier, createVerifier, type Problem } from '@sallyport/verify'
import t, { type Test } from 'tap'
import { assertionOf, bentAssertions } from '../support/bent-assertions.ts'
import { each, exchange } from '../support/edge.ts'
import { exampleOf } from '../support/examples.ts'
import { foreignTokens } from '../support/foreign-tokens.ts'
import { expiredTokens, forgedTokens, good, issuer, oddTokens, withClaims } from '../support/forged-tokens.ts'
import { makeKeyPair } from '../support/machines.ts'
import { installPacked } from '../support/packed.ts'
import { eventually, freePort } from '../support/system.ts'

// Runtimes are installed here, and a machine may have to fetch them.
t.setTimeout(600_000)

const versions = { bun: '1.4.5', deno: '2.9.6', workerd: '1.20261117.1' }

/** What is the same on every runtime: a handler of requests as fetch knows them. */
const service = `
  import { createAssertionVerifier, createVerifier, Problem } from '@sallyport/verify'
  import { options, publicKeys } from './settings.js'

  const verifier = createVerifier(options)
  const readAssertion = createAssertionVerifier(publicKeys, 'orders')

  export default {
    async fetch(request) {
      const authorization = request.headers.get('authorization')
      // Begins to fetch keys, and ends before they are there.
      if (request.method === 'HEAD') {
        verifier.authenticate(authorization).catch(() => {})
        return new Response()
      }
      try {
        const assertion = request.headers.get('x-identity-token')
        const caller = assertion === null ? await verifier.authenticate(authorization) : await readAssertion(assertion)
        return Response.json(caller ?? null)
      } catch (error) {
        if (!(error instanceof Problem)) throw error
        return Response.json(error.body(), { status: error.statusCode, headers: error.headers })
      }
    },
  }`

/** The same on Node, whose server has other requests. */
const onNode = `
  import { createServer } from 'node:http'
  import service from './service.js'

  createServer(async ({ method, headers }, response) => {
    const { status, headers: fields, body } = await service.fetch(new Request('http://localhost/', { method, headers }))
    response.writeHead(status, Object.fromEntries(fields)).end(body && Buffer.from(await new Response(body).arrayBuffer()))
  }).listen(Number(process.env.PORT), '127.0.0.1')`

const onWorkerd = (bundle: string) => `
  using Workerd = import "/workerd/workerd.capnp";
  const config :Workerd.Config = (
    services = [
      (name = "main", worker = (
        modules = [(name = "service.js", esModule = embed "${bundle}")],
        compatibilityDate = "2026-11-01",
        globalOutbound = "network",
      )),
      (name = "network", network = (allow = ["private"])),
    ],
    sockets = [(name = "http", http = (), service = "main")],
  );`

/** As from a shell of one's own: without what tap adds to the environment of the processes that tests start. */
const { NODE_OPTIONS: _NODE_OPTIONS, ...environment } = process.env

/** How each runtime serves what `name`.js exports; Node serves `name`-node.js. */
const runtimes: Record<string, (name: string, port: number) => [command: string, ...args: string[]]> = {
  Node: (name) => ['node', `${name}-node.js`],
  Bun: (name) => ['bun', `${name}.js`],
  Deno: (name, port) => ['deno', 'serve', '--allow-net', '--host=127.0.0.1', `--port=${port}`, `${name}.js`],
  Workers: (name, port) => ['workerd', 'serve', `${name}.capnp`, `--socket-addr=http=127.0.0.1:${port}`],
}

/** @returns once it listens: the port, and what it prints */
async function start(t: Test, folder: string, runtime: string, name: string) {
  const port = await freePort()
  const [command, ...args] = (runtimes[runtime] as (typeof runtimes)[string])(name, port)
  const env = { ...environment, PATH: `${join(folder, 'node_modules/.bin')}:${environment.PATH}`, PORT: String(port) }
  const child = spawn(command, args, { cwd: folder, env })
  const ended = once(child, 'exit')
  t.teardown(async () => {
    child.kill()
    await ended
  })
  const output: string[] = []
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => output.push(String(chunk)))
  await eventually(
    `${runtime} listens`,
    () =>
      new Promise<boolean>((resolve) => {
        const socket = connect(port, '127.0.0.1', () => resolve(true)).on('error', () => resolve(false))
        socket.on('connect', () => socket.destroy())
      }),
  )
  return { port, output }
}

/** What can stand in a header as it is. */
const isVisible = (text: string) => /^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(text)

t.test('a verifier on Bun, Deno and Workers decides as one on Node', async (t) => {
  const { folder, write, run } = await installPacked(t, ['@sallyport/verify'], versions)
  const { issuers, tokens: foreign } = await foreignTokens(t)
  const options = { issuer: 'https://issuer.test', audience: 'https://api.test', jwks: await issuer.serve(t), issuers }
  const { publicKey, privateKey } = makeKeyPair()
  const publicKeys = [makeKeyPair().publicKey, publicKey]
  const readme = (heading?: string) =>
    exampleOf('packages/verify/README.md', 'js', heading)
      .replace("'http://localhost:5000'", JSON.stringify(options.issuer))
      .replace('audience: issuer', `audience: ${JSON.stringify(options.audience)}`)
      .replace("'http://localhost:5001/.well-known/jwks.json'", JSON.stringify(options.jwks))
      .replace('8787', 'Number(process.env.PORT)')
  write(
    'settings.js',
    `export const options = ${JSON.stringify(options)}\nexport const publicKeys = ${JSON.stringify(publicKeys)}`,
  )
  write('service.js', service)
  write('service-node.js', onNode)
  write('readme.js', readme())
  write('readme-node.js', readme('With node:http'))
  for (const name of ['service', 'readme']) {
    await run(['bun', 'build', `${name}.js`, '--outfile', `${name}-bundle.js`])
    write(`${name}.capnp`, onWorkerd(`${name}-bundle.js`))
  }

  const here = createVerifier(options)
  t.teardown(() => here.close())
  const readAssertion = createAssertionVerifier(publicKeys, 'orders')
  const decide = async (token: string) =>
    here.authenticate(`Bearer ${token}`).then(
      (identity) => JSON.stringify([200, identity]),
      (error: Problem) => JSON.stringify([error.statusCode, error.body()]),
    )
  const tokens = [
    ...forgedTokens(privateKey).map(({ what, token }) => [what, token] as const),
    ...[...oddTokens, ...expiredTokens(), ['a good one', good] as const, ['another', withClaims({})] as const],
    ...foreign,
  ].filter(([, token]) => isVisible(token))
  const assertions = [
    ['a good one', assertionOf(privateKey, 'orders')] as const,
    ...bentAssertions(privateKey, 'orders').map(([what, values]) => [what, values.join(', ')] as const),
  ].filter(([, value]) => isVisible(value))
  t.ok(tokens.length > 2_000, `${tokens.length} tokens`)

  const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
  async function ask(port: number, headers: Record<string, string>) {
    const response = await fetch(`http://127.0.0.1:${port}/`, { headers })
    return `[${response.status},${await response.text()}]`
  }
  for (const runtime of Object.keys(runtimes)) {
    await t.test(`the corpora on ${runtime}`, async (t) => {
      const { port, output } = await start(t, folder, runtime, 'service')
      await fetch(`http://127.0.0.1:${port}/`, { method: 'HEAD', headers: bearer(good) })
      t.match(await ask(port, bearer(good)), '[200,', 'although the first request ended early')
      const differences: string[] = []
      await each(tokens, async ([what, token]) => {
        const [expected, found] = await Promise.all([decide(token), ask(port, bearer(token))])
        if (found !== expected) differences.push(`${what}: ${found} instead of ${expected}`)
      })
      await each(assertions, async ([what, value]) => {
        const expected = JSON.stringify([200, (await readAssertion(value)) ?? null])
        const found = await ask(port, { 'x-identity-token': value })
        if (found !== expected) differences.push(`assertion, ${what}: ${found} instead of ${expected}`)
      })
      t.strictSame(differences, [], 'every decision is the same', { output: output.join('') })
    })

    await t.test(`what the README begins with, on ${runtime}`, async (t) => {
      const { port, output } = await start(t, folder, runtime, 'readme')
      t.equal(await ask(port, bearer(good)), '[200,{"hello":"someone@example.com"}]', { output: output.join('') })
      const { status, headers } = await fetch(`http://127.0.0.1:${port}/`)
      t.strictSame(
        [status, headers.get('www-authenticate'), headers.get('content-type')],
        [401, 'Bearer', 'application/problem+json'],
      )
      const lines = ['GET / HTTP/1.1', 'Host: a', `Authorization: Bearer ${good}`, 'Connection: close']
      const send = (more: string[]) => exchange(port, `${[...lines, ...more].join('\r\n')}\r\n\r\n`)
      t.match(await send([]), /^HTTP\/1.1 200/)
      for (const second of [`Authorization: Bearer ${good}`, 'authorization: Bearer x', 'Authorization: Basic eDp5'])
        t.match(await send([second]), /^HTTP\/1.1 401[\s\S]*TOKEN_INVALID/, 'two of them are ambiguous')
    })
  }
})
