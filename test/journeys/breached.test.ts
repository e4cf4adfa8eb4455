import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { hash } from 'argon2'
import t from 'tap'
import { demoPassword, openSystem, signIn, temporaryFolder } from '../support/system.ts'

/** Runs a program of operators. */
function run(name: string, words: string[], { input = '', env = {} as Record<string, string> } = {}) {
  const program = fileURLToPath(new URL(`../../../cli/dist/${name}.js`, import.meta.url))
  return new Promise<{ code: unknown; output: string; errors: string }>((resolve) => {
    const child = execFile(
      process.execPath,
      [program, ...words],
      { env: { ...process.env, ...env } },
      (error, output, errors) => resolve({ code: error?.code ?? 0, output, errors }),
    )
    child.stdin?.end(input)
  })
}

t.test('no new password is known from a data breach, and who has one from before still signs in', async (t) => {
  const folder = temporaryFolder(t)
  const [source, file] = [join(folder, 'source'), join(folder, 'set')]
  const leaked = 'pelican umbrella teapot'
  writeFileSync(source, `${leaked}\n${demoPassword}\n`)
  t.match(await run('breached', ['build', source, file]), { code: 1, errors: /^sallyport breached: line 1 of / })
  t.match(await run('breached', ['build', source, file, '--plain']), {
    code: 0,
    output: `made ${file} of 2 passwords\n`,
  })

  const { gateway, sql, urls } = await openSystem(t, { BREACHED_PASSWORDS: file })
  const client = await signIn(gateway)
  const change = (newPassword: string) =>
    client.call('POST', '/api/auth/password', { body: { currentPassword: demoPassword, newPassword } })
  t.match(await change(leaked), {
    status: 400,
    body: { code: 'PASSWORD_WEAK', detail: /known from a data breach/ },
  })
  t.equal((await client.login()).status, 200, 'nothing changed')

  const env = { DATABASE_URL: urls.auth, BREACHED_PASSWORDS: file }
  const words = ['nell@example.com', 'Nell New', 'doctor']
  t.match(await run('create-user', words, { input: leaked, env }), {
    code: 1,
    errors: /^sallyport create-user: the password is known from a data breach/,
  })
  t.match(await run('create-user', words, { input: leaked, env: { ...env, BREACHED_PASSWORDS: source } }), {
    code: 1,
    errors: /^sallyport create-user: BREACHED_PASSWORDS names /,
  })
  t.match(await run('create-user', words, { input: 'pelican umbrella kettle', env }), { code: 0 })
  await sql("UPDATE auth.users SET password_hash = $1 WHERE email = 'nell@example.com'", [await hash(leaked)])
  t.equal((await client.login('nell@example.com', leaked)).status, 200)
})
