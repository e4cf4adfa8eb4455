import t from 'tap'
import type { Mail } from './mails.ts'
import { render } from './templates.ts'

const app = { name: 'Sally & Port', origin: 'https://app.example.com' }
const mail = {
  locale: null,
  template: 'password_changed',
  to: 'dora@example.com',
  name: 'Dora Doctor',
  at: '2026-11-29T23:05:00Z',
  ip: '203.0.113.7',
  device: 'Firefox on Linux',
} satisfies Mail

t.test('a changed password is told in English, with when, from where and what to do', async (t) => {
  const { subject, text, html } = render(mail, app)
  t.equal(subject, 'Sally & Port: your password was changed')
  for (const part of ['Hello Dora Doctor,', '29 November 2026 at 23:05 UTC', '203.0.113.7', 'Firefox on Linux']) {
    t.match(text, part)
    t.match(html, part)
  }
  t.match(text, 'Sign in: https://app.example.com/login\n')
  t.match(html, '<a class="button" href="https://app.example.com/login">Sign in</a>')
  t.match(text, 'choose a new password')
  t.match(html, '<html lang="en">')
  t.equal(render({ ...mail, locale: 'fr' }, app).subject, subject, 'also where the language is not there')
})

t.test('and in German', async (t) => {
  for (const locale of ['de', 'de-AT', 'DE']) {
    const { subject, text, html } = render({ ...mail, locale }, app)
    t.equal(subject, 'Sally & Port: Ihr Passwort wurde geändert')
    for (const part of ['Guten Tag, Dora Doctor,', '29. November 2026 um 23:05 UTC', '203.0.113.7']) {
      t.match(text, part)
      t.match(html, part)
    }
    t.match(text, 'Anmelden: https://app.example.com/login\n')
    t.match(html, '<html lang="de">')
  }
})

t.test('HTML loads nothing, follows the colour scheme, and shows markup as text', async (t) => {
  const hostile = `<img src=x onerror="alert('1')">`
  const { text, html } = render({ ...mail, name: hostile, device: hostile, ip: hostile }, app)
  t.match(text, hostile)
  t.match(html, '&lt;img src=x onerror=&quot;alert(&#39;1&#39;)&quot;&gt;')
  t.notMatch(html, /<img|<script|<link|url\(/)
  t.match(html, 'Sally &amp; Port')
  t.match(html, '<meta name="color-scheme" content="light dark">')
  t.match(html, '@media (prefers-color-scheme: dark)')
})

t.test('a mail of a newer version is left to that', async (t) => {
  t.throws(() => render({ ...mail, template: 'newer' } as unknown as Mail, app), { code: 'NO_TEMPLATE' })
})
