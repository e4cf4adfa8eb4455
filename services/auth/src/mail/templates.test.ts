import t from 'tap'
import { purposes } from '../accounts/tickets.ts'
import { layOut } from './layout.ts'
import { type Mail, pages } from './mails.ts'
import { sampleSecrets, samples } from './samples.ts'
import { contentOf } from './templates.ts'

const app = { name: 'Sally & Port', origin: 'https://app.example.com' }
const sample = (template: Mail['template'], more: object = {}) =>
  ({ ...samples.find((mail) => mail.template === template), ...more }) as Mail
const show = (mail: Mail) => layOut(contentOf(mail, app, sampleSecrets))

/** What a person reads of HTML. */
const readable = (html: string) =>
  html
    .replace(/<head>.*<\/head>|<!--.*?-->/gs, '')
    .replace(/<bdi>/g, '\u2068')
    .replace(/<\/bdi>/g, '\u2069')
    .replace(/<[^>]*>/g, '\n')
    .replace(/&amp;/g, '&')

t.test('every mail says the same in text and in HTML, in English and in German', async (t) => {
  const others = [sample('factor_added', { factor: 'totp' }), sample('factor_removed', { factor: 'passkey' })]
  for (const mail of [...samples, ...others])
    for (const locale of ['en', 'de']) {
      const name = `${mail.template} ${locale}`
      const { subject, text, html } = show({ ...mail, locale })
      t.match(subject, /^Sally & Port: \p{Lu}/u, name)
      t.notMatch(`${subject}${text}${html}`, /undefined|null|\[object/, name)
      t.match(html, `<html lang="${locale}">`)
      const lines = readable(html)
      for (const paragraph of text.split(/\n+/).filter((line) => line !== '-- '))
        for (const part of paragraph.split(/: (?=https|\d{8}$)|\? (?=https)|(?<=^[^ ]{2,}|^IP address): /))
          t.ok(lines.includes(part), `${name}: ${part}`)
    }
  const titles = new Set(samples.map((mail) => show(mail).subject))
  t.equal(titles.size, samples.length - 2, 'administrators do two things that users do too')
})

t.test('the language is the best for the tag', async (t) => {
  const [english, german] = ['Sally & Port: Your password was changed', 'Sally & Port: Ihr Passwort wurde geändert']
  for (const locale of ['de', 'de-AT', 'DE']) t.equal(show(sample('password_changed', { locale })).subject, german)
  for (const locale of ['en', 'fr', 'den', null]) t.equal(show(sample('password_changed', { locale })).subject, english)
})

t.test('notices say when, from where and what to do', async (t) => {
  for (const mail of samples.filter((mail) => 'at' in mail)) {
    const { text, html } = show(mail)
    for (const part of ['When', '29 November 2026 at 23:05 UTC', '203.0.113.7', 'Firefox on Linux']) {
      t.match(text, part, mail.template)
      t.match(html, part, mail.template)
    }
    const advice = mail.template === 'impersonated' ? /end that session/ : /[Cc]hoose a new password/
    t.match(text, advice, mail.template)
  }
  t.match(show(sample('deletion_requested')).text, 'erased on 13 December 2026 at 23:05 UTC')
  t.match(show(sample('email_changed', { locale: 'de' })).text, 'Der Link gilt einmal und 7 Tage lang.')
})

t.test('a link leads to its page with the ticket, and says how long it is valid', async (t) => {
  const validFor = {
    registration: '24 hours',
    invitation: '7 days',
    account_created: '7 days',
    password_reset: '1 hour',
    password_reset_by_admin: '1 hour',
    email_change: '24 hours',
    email_changed: '7 days',
  }
  const links = Object.values(pages).map((page) => `${app.origin}${page}#ticket=${sampleSecrets.ticket}`)
  t.equal(links.length, purposes.length)
  for (const mail of samples) {
    const { text, html } = show(mail)
    const time = validFor[mail.template as keyof typeof validFor]
    const [, link = ''] = /: (https:\S+)\n/.exec(text) ?? []
    t.equal(links.includes(link), time !== undefined, mail.template)
    t.match(html, `<a class="button" href="${link}"`)
    if (time) t.match(text, `The link works once, within ${time}.`)
    const isWithCode = ['registration', 'password_reset'].includes(mail.template)
    t.equal(/within 10 minutes: 12345678\n/.test(text), isWithCode, mail.template)
  }
  t.match(show(sample('account_exists')).text, 'Sign in: https://app.example.com/login\n')
  t.match(show(sample('account_exists')).text, 'https://app.example.com/forgot-password\n')
})

t.test('what strangers wrote is text: no markup, no link, no other direction, no line, no story', async (t) => {
  const hostile = `<a href=//evil.example>\r\nBcc: x@evil.example\u202e www.evil.example http://evil.example`
  for (const sampled of samples) {
    const strange = {
      name: hostile,
      device: hostile,
      newEmail: hostile,
      invitedBy: hostile,
      by: hostile,
      reason: hostile,
      ip: '<b>',
      locale: 'de',
    }
    const given = Object.keys(strange).filter((key) => key in sampled)
    const mail = { ...sampled, ...Object.fromEntries(given.map((key) => [key, strange[key as 'name']])) } as Mail
    const { subject, text, html } = show(mail)
    for (const part of [text, html]) {
      t.notMatch(part, /\u202e|\r/)
      t.notMatch(part, /evil\.example|:\/\/evil|www\.evil/, mail.template)
      t.notMatch(part, /^Bcc/m)
      // Every mark has its other half.
      t.equal(part.split(/\u2068|<bdi>/).length, part.split(/\u2069|<\/bdi>/).length)
    }
    t.notMatch(html, /<a href=\/\/|<b>/)
    t.notMatch(html, /<img|<script|<link|url\(|@import/, 'nothing is loaded')
    t.notMatch(subject, 'evil')
  }
  const long = show(sample('password_changed', { name: 'x'.repeat(200) })).text
  t.match(long, `Hello \u2068${'x'.repeat(100)}…\u2069,`)
})

t.test('who has not proved the address reads nothing that a stranger chose', async (t) => {
  for (const template of ['registration', 'account_created', 'email_change'] as const)
    t.notMatch(show(sample(template, { name: 'Call 555 0100' })).text, '0100', template)
  const text = (invitedBy: string | null) => show(sample('invitation', { invitedBy })).text
  t.match(text('Ada Admin'), '\u2068Ada Admin\u2069 invites you to Sally & Port.')
  t.match(text('evil.example'), 'evil.\u2060example')
  t.match(text(null), 'You are invited to Sally & Port.')
  const german = show(sample('invitation', { invitedBy: null, locale: 'de' })).text
  t.match(german, 'Sie sind zu Sally & Port eingeladen.')
})

t.test('HTML follows the colour scheme', async (t) => {
  const { html } = show(sample('password_changed'))
  t.match(html, '<meta name="color-scheme" content="light dark">')
  t.match(html, '@media (prefers-color-scheme: dark)')
  t.match(html, 'Sally &amp; Port')
})

t.test('a mail of a newer version is left to that', async (t) => {
  t.throws(() => show({ ...sample('password_changed'), template: 'newer' } as unknown as Mail), { code: 'NO_TEMPLATE' })
})
