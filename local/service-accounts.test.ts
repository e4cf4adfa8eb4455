import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isUuid, publicJwk } from '@sallyport/identity'
import t from 'tap'
import { keepServiceAccounts } from './service-accounts.ts'

t.test('service accounts are made once, for their owner alone', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-accounts-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const accounts = keepServiceAccounts(folder)
  t.strictSame(keepServiceAccounts(folder), accounts)
  const { notifications, nightly } = accounts
  t.ok(isUuid(notifications.id) && isUuid(nightly.id) && notifications.id !== nightly.id)
  t.not(publicJwk(notifications.privateKey).kid, publicJwk(nightly.privateKey).kid)
  t.equal(statSync(join(folder, 'nightly-private-key.pem')).mode & 0o777, 0o600)
})

t.test('a file that holds no account is named, and left as it is', async (t) => {
  for (const file of ['notifications-client-id', 'nightly-private-key.pem']) {
    const folder = mkdtempSync(join(tmpdir(), 'sallyport-accounts-'))
    t.teardown(() => rmSync(folder, { recursive: true }))
    writeFileSync(join(folder, file), 'none')
    t.throws(
      () => keepServiceAccounts(folder),
      { name: 'ConfigurationError', message: /is of no use .* delete it/ },
      file,
    )
    t.equal(readFileSync(join(folder, file), 'utf8'), 'none')
  }
})
