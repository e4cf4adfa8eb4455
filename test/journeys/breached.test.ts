import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { hash } from 'argon2'
import t from 'tap'
import { sallyport } from '../support/command-line.ts'
import { demoPassword, openSystem, signIn, temporaryFolder } from '../support/system.ts'

t.test('no new password is known from a data breach, and who has one from before still signs in', async (t) => {
  const folder = temporaryFolder(t)
  const [source, file] = [join(folder, 'source'), join(folder, 'set')]
  const leaked = 'pelican umbrella teapot'
  writeFileSync(source, `${leaked}\n${demoPassword}\n`)
  t.match(await sallyport(['breached', 'build', source, file]), { code: 1, errors: /^sallyport: line 1 of / })
  t.match(await sallyport(['breached', 'build', source, file, '--plain']), {
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
  const words = ['users', 'create', 'nell@example.com', 'Nell New', 'doctor']
  t.match(await sallyport(words, env, leaked), {
    code: 1,
    errors: /^sallyport: the password is known from a data breach/,
  })
  t.match(await sallyport(words, { ...env, BREACHED_PASSWORDS: source }, leaked), {
    code: 1,
    errors: /^sallyport: BREACHED_PASSWORDS names /,
  })
  t.match(await sallyport(words, env, 'pelican umbrella kettle'), { code: 0 })
  await sql("UPDATE auth.users SET password_hash = $1 WHERE email = 'nell@example.com'", [await hash(leaked)])
  t.equal((await client.login('nell@example.com', leaked)).status, 200)
})
