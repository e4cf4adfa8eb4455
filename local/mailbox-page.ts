import { createHash } from 'node:crypto'
import { escapeHtml } from '@sallyport/chassis'
import type { MailboxMessage } from './mailbox.ts'

const style = `
:root { color-scheme: light dark; --ground: #f4f5f7; --sheet: #fff; --line: #dfe3e8; --ink: #1c2430; --soft: #5a6675; --accent: #0b57b7; --chosen: #e6eefa }
@media (prefers-color-scheme: dark) {
  :root { --ground: #10151c; --sheet: #1a212b; --line: #303a47; --ink: #e6eaf0; --soft: #a3afbf; --accent: #8ab8ff; --chosen: #24344b }
}
* { box-sizing: border-box }
body { margin: 0; height: 100vh; display: grid; grid-template: auto 1fr / minmax(16rem, 24rem) 1fr; background: var(--ground); color: var(--ink); font: 15px/1.45 system-ui, sans-serif }
header { grid-column: 1 / -1; padding: .7rem 1.2rem; border-bottom: 1px solid var(--line); background: var(--sheet) }
header h1 { display: inline; margin: 0 .8rem 0 0; font-size: 1.05rem }
header h1 a { color: inherit; text-decoration: none }
nav { overflow: auto; border-right: 1px solid var(--line); background: var(--sheet) }
nav ol { margin: 0; padding: 0; list-style: none }
nav a { display: block; padding: .7rem 1.2rem; border-bottom: 1px solid var(--line); color: inherit; text-decoration: none }
nav a:hover, nav a[aria-current] { background: var(--chosen) }
nav strong, nav span { display: block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap }
.soft, nav span { color: var(--soft); font-size: .87rem }
main { display: flex; flex-direction: column; min-width: 0; min-height: 0 }
main > div { padding: 1rem 1.4rem .4rem }
main h2 { margin: 0 0 .2rem; font-size: 1.2rem; overflow-wrap: anywhere }
.tabs { display: flex; gap: 1.2rem; margin-top: .8rem }
.tabs a { padding-bottom: .3rem; color: var(--accent); text-decoration: none }
.tabs a[aria-current] { border-bottom: 2px solid var(--accent); color: var(--ink) }
iframe, pre { flex: 1; margin: 0; border: 0; border-top: 1px solid var(--line); background: var(--sheet) }
pre { padding: 1.2rem 1.4rem; overflow: auto; font: 14px/1.5 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere }
.empty { margin: auto; padding: 2rem; color: var(--soft); text-align: center }
nav a:focus-visible, .tabs a:focus-visible, .back a:focus-visible { outline: 2px solid var(--accent); outline-offset: -2px }
.back { display: none }
@media (max-width: 45rem) {
  body { grid-template: auto 1fr / 1fr }
  header .soft { display: none }
  nav { border-right: 0 }
  body:has(main h2) nav, body:not(:has(main h2)):has(li) main { display: none }
  .back { display: block; margin: 0 0 .6rem }
  .back a { color: var(--accent); text-decoration: none }
}
`

/** Milliseconds after which the list looks for new messages. A message that is read stays as it is. */
const refreshAfter = 2_000

/** Keeps the list up to date, and lets the arrow keys (or j and k) choose the next message, Escape none. */
const script = `
const list = () => document.querySelector('nav ol')
setInterval(async () => {
  const response = await fetch(location.href).catch(() => {})
  if (!response?.ok) return
  const { body } = new DOMParser().parseFromString(await response.text(), 'text/html')
  const [now, then] = [body.querySelector('nav ol'), list()]
  if (now.innerHTML === then.innerHTML) return
  const focused = document.activeElement.getAttribute('href')
  then.replaceWith(document.adoptNode(now))
  if (focused) list().querySelector('a[href="' + focused + '"]')?.focus()
  const [hint, newHint] = [document.querySelector('.empty'), body.querySelector('.empty')]
  if (hint && newHint) hint.textContent = newHint.textContent
}, ${refreshAfter})
addEventListener('keydown', ({ key, ctrlKey, metaKey, altKey }) => {
  if (ctrlKey || metaKey || altKey) return
  const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[key]
  const links = [...list().querySelectorAll('a')]
  if (key === 'Escape') location.href = '/'
  if (step) links[links.findIndex((link) => link.ariaCurrent) + step]?.click()
})
document.querySelector('nav [aria-current]')?.scrollIntoView({ block: 'nearest' })
`

const hashOf = (text: string) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`

/** The style and the script above, and mails in frames. */
export const contentPolicy = `default-src 'none'; style-src ${hashOf(style)}; script-src ${hashOf(script)}; connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`

/** A mail brings its own style, and loads and runs nothing. Its links open beside it. */
export const mailPolicy =
  "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; frame-ancestors 'self'; sandbox allow-popups allow-popups-to-escape-sandbox"

/** Every message, and none of them opened. */
export function listPage(messages: MailboxMessage[]): string {
  const hint = messages.length === 0 ? 'No mail yet. It appears here as soon as it is sent.' : 'Choose a message.'
  return page(messages, `<p class="empty">${hint}</p>`)
}

/** For a message that is not kept, or never came. */
export function missingPage(messages: MailboxMessage[]): string {
  return page(messages, '<p class="empty">There is no such message: it is gone with the last start, or too old.</p>')
}

/** One message, beside the others. */
export function messagePage(messages: MailboxMessage[], message: MailboxMessage, tab: 'html' | 'text'): string {
  const { id, to, subject, text, html, receivedAt } = message
  const link = (name: 'html' | 'text', label: string) =>
    `<a href="/messages/${id}${name === 'text' ? '/text' : ''}"${name === tab ? ' aria-current="page"' : ''}>${label}</a>`
  const body =
    tab === 'html'
      ? `<iframe title="The message" sandbox="allow-popups allow-popups-to-escape-sandbox" src="/messages/${id}/html"></iframe>`
      : `<pre>${escapeHtml(text)}</pre>`
  return page(
    messages,
    `<div><p class="back"><a href="/">← All messages</a></p><h2>${escapeHtml(titleOf(subject))}</h2><p class="soft">To ${escapeHtml(to)}, ${timeOf(receivedAt)}</p>
<div class="tabs">${html === '' ? '' : link('html', 'HTML')}${link('text', 'Text')}</div></div>
${body}`,
    id,
  )
}

/** The HTML of a mail. Its links open in a tab of their own: in the frame most pages would refuse. */
export function mailDocument({ html }: MailboxMessage): string {
  const base = '<base target="_blank">'
  return /<head[^>]*>/i.test(html) ? html.replace(/<head[^>]*>/i, (head) => `${head}${base}`) : `${base}${html}`
}

function page(messages: MailboxMessage[], main: string, current?: string): string {
  const items = messages.map(({ id, to, subject, receivedAt }) => {
    const isCurrent = id === current ? ' aria-current="page"' : ''
    return `<li><a href="/messages/${id}"${isCurrent}><strong>${escapeHtml(titleOf(subject))}</strong><span>${escapeHtml(to)}</span><span>${timeOf(receivedAt)}</span></a></li>`
  })
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>Mailbox</title>
<style>${style}</style>
</head>
<body>
<header><h1><a href="/">Mailbox</a></h1><span class="soft">Mail of this system, which goes nowhere else</span></header>
<nav aria-label="Messages"><ol>
${items.join('\n')}
</ol></nav>
<main>
${main}
</main>
<script>${script}</script>
</body>
</html>
`
}

const titleOf = (subject: string) => subject || '(no subject)'
const timeOf = (iso: string) => `<time datetime="${iso}">${iso.slice(0, 19).replace('T', ' ')} UTC</time>`
