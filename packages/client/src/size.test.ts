import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build } from 'rolldown'
import t from 'tap'

const entry = fileURLToPath(new URL('index.js', import.meta.url))
const impersonation = fileURLToPath(new URL('impersonation.js', import.meta.url))
const passkeys = fileURLToPath(new URL('passkeys.js', import.meta.url))

/** What an app ships for an import, minified and compressed, in bytes. */
async function sizeOf(source: string): Promise<number> {
  const { output } = await build({
    input: 'app',
    plugins: [
      {
        name: 'app',
        resolveId: (id) => (id === 'app' ? id : undefined),
        load: (id) => (id === 'app' ? source : undefined),
      },
    ],
    output: { minify: true },
    write: false,
    logLevel: 'silent',
  })
  return gzipSync(output[0].code).length
}

t.test('the client is under 6 kB, minified and compressed', async (t) => {
  const bytes = await sizeOf(
    `import { createAuthClient } from ${JSON.stringify(entry)}; globalThis.create = createAuthClient`,
  )
  t.comment(`${bytes} bytes`)
  t.ok(bytes > 1_000 && bytes < 6_150, `${bytes} bytes`)
})

// A page in which users look after their accounts and second factors is loaded seldom: what it adds may be more than
// nothing.
t.test('with everything that it exports it is under 6.5 kB', async (t) => {
  const bytes = await sizeOf(`export * from ${JSON.stringify(entry)}`)
  t.comment(`${bytes} bytes`)
  t.ok(bytes > 1_000 && bytes < 6_500, `${bytes} bytes`)
})

// Apart, since it is for the few who act for others.
t.test('acting for another user adds under 1 kB', async (t) => {
  const create = `import { createAuthClient } from ${JSON.stringify(entry)}; globalThis.create = createAuthClient`
  const act = `import { withImpersonation } from ${JSON.stringify(impersonation)}; globalThis.act = withImpersonation`
  const bytes = (await sizeOf(`${create}\n${act}`)) - (await sizeOf(create))
  t.comment(`${bytes} bytes`)
  t.ok(bytes > 100 && bytes < 1_000, `${bytes} bytes`)
})

// Apart, since most of it is the library for WebAuthn.
t.test('passkeys are under 5 kB', async (t) => {
  const bytes = await sizeOf(`export * from ${JSON.stringify(passkeys)}`)
  t.comment(`${bytes} bytes`)
  t.ok(bytes > 1_000 && bytes < 5_000, `${bytes} bytes`)
})

t.test('an import of one function brings no more than that', async (t) => {
  const bytes = await sizeOf(
    `import { readAccessToken } from ${JSON.stringify(entry)}; globalThis.read = readAccessToken`,
  )
  t.ok(bytes > 100 && bytes < 500, `${bytes} bytes`)
})
