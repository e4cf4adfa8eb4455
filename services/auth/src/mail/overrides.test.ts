import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import type { Mail } from './mails.ts'
import { openTemplates } from './overrides.ts'
import { sampleSecrets, samples } from './samples.ts'

const app = { name: 'Sally & Port', origin: 'https://app.example.com' }
const sample = (template: Mail['template'], more: object = {}) =>
  ({ ...samples.find((mail) => mail.template === template), ...more }) as Mail

function folderOf(t: Test, files: Record<string, string>): string {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-templates-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), text)
  }
  return folder
}

t.test('a template takes the place of ours, and what is missing stays', async (t) => {
  const folder = folderOf(t, {
    '..data/ignored': '',
    '_signature.liquid': 'Yours, {{ app.name }}',
    'en/registration.subject.liquid': '{{ app.name }}:\n  welcome\n',
    'en/registration.text.liquid': `{{ code }} {{ codeValidFor }} {{ link }} {{ validFor }} {% render '_signature', app: app %}`,
    'de/password_changed.html.liquid':
      '<p>{{ name }}, {{ at }}, {{ ip }}, {{ device }}, {{ locale }}, {{ app.name }}</p>',
    'en/invitation.html.liquid': '<p>{{ invitedBy }}</p>',
    'en/invitation.text.liquid': '{% if invitedBy %}{{ invitedBy }}{% else %}nobody{% endif %}',
  })
  const render = await openTemplates(folder, app)
  const ours = await openTemplates(undefined, app)
  const registration = render(sample('registration'), sampleSecrets)
  t.equal(registration.subject, 'Sally & Port: welcome')
  t.equal(
    registration.text,
    `12345678 10 minutes ${app.origin}/complete-registration#ticket=${sampleSecrets.ticket} 24 hours Yours, Sally & Port`,
  )
  t.equal(registration.html, ours(sample('registration'), sampleSecrets).html)
  t.strictSame(
    render(sample('registration', { locale: 'de' }), sampleSecrets),
    ours(sample('registration', { locale: 'de' }), sampleSecrets),
  )
  const changed = render(sample('password_changed', { locale: 'de', name: '<b>', device: 'www.evil.example' }))
  t.equal(
    changed.html,
    '<p><bdi>&lt;b&gt;</bdi>, 29. November 2026 um 23:05 UTC, 203.0.113.7, <bdi>www.\u2060evil.\u2060example</bdi>, de, Sally &amp; Port</p>',
  )
  t.equal(render(sample('invitation', { invitedBy: null }), sampleSecrets).text, 'nobody')
  t.equal(render(sample('invitation', { invitedBy: null }), sampleSecrets).html, '<p></p>')
})

t.test('a file that is wrong stops the boot, with its name, its line and how to fix it', async (t) => {
  const cases: [name: string, text: string, complaint: RegExp][] = [
    [
      'en/registration.html.liquid',
      'a\n{{ nmae }}',
      /undefined variable: nmae, line:2, col:4; it knows app\.name, app\.origin, locale, link, validFor, code/,
    ],
    ['en/registration.text.liquid', '\n\n{% if %', /tag .* not closed, line:3, col:1; it knows/],
    ['de/new_device.text.liquid', '{{ name | shout }}', /undefined filter: shout, line:1/],
    ['de/new_device.text.liquid', '{{ code }}', /undefined variable: code/],
    ['en/account_created.text.liquid', '{{ name }}', /undefined variable: name/],
    ['en/password_changed.subject.liquid', '{{ name }}', /undefined variable: name/],
    ['en/new_device.text.liquid', `{% render '../../../etc/passwd' %}`, /ENOENT|not found|Failed to lookup/i],
    ['en/new_device.text.liquid', `{% include '/etc/passwd' %}`, /ENOENT|not found|Failed to lookup/i],
    ['en/new_device.text.liquid', '{% for i in (1..100000000) %}x{% endfor %}', /limit exceeded/],
    ['en/new_device.text.liquid', '{{ name.constructor }}', /undefined variable/],
    ['en/newdevice.text.liquid', '', /is no template; name it <mail>\.subject\.liquid.*registration/],
    ['en/new_device.txt', '', /is no template/],
    ['fr/new_device.text.liquid', '', /fr: is neither a language \(en, de\) nor a part/],
    ['de', '', /cannot be read \(ENOTDIR\); correct the path/],
  ]
  for (const [name, text, complaint] of cases) {
    const folder = folderOf(t, { [name]: text })
    await t.rejects(openTemplates(folder, app), { message: complaint }, `${name} ${text}`)
    await t.rejects(openTemplates(folder, app), {
      message: `MAIL_TEMPLATES: ${join(folder, name.split('/')[0] as string)}`,
    })
  }
  await t.rejects(openTemplates('/not/there', app), {
    message: 'MAIL_TEMPLATES: /not/there: cannot be read (ENOENT); correct the path, or unset MAIL_TEMPLATES',
  })
})
