/** The languages that mails are written in. */
export type Locale = 'en' | 'de'

/** The best of them for a language tag such as `de-AT`. */
export function localeOf(tag: string | undefined): Locale {
  return /^de\b/i.test(tag ?? '') ? 'de' : 'en'
}

/** A mail before it is laid out: plain text, of which nothing is markup. */
export interface Content {
  locale: Locale
  subject: string
  greeting: string
  intro: string
  /** What is known, as names and values. */
  facts: [name: string, value: string][]
  advice: string[]
  link: { label: string; url: string }
  footer: string
}

export interface Message {
  subject: string
  text: string
  html: string
}

/** Lays a mail out, as text and as HTML that says the same. */
export function layOut(content: Content): Message {
  return { subject: content.subject, text: textOf(content), html: htmlOf(content) }
}

function textOf({ greeting, intro, facts, advice, link, footer }: Content): string {
  const list = facts.map(([name, value]) => `${name}: ${value}`).join('\n')
  return `${[greeting, intro, list, ...advice, `${link.label}: ${link.url}`, `-- \n${footer}`].join('\n\n')}\n`
}

/** No image, no font, nothing to load. Colours are named for both schemes, or clients invert them at will. */
const style = `
  :root { color-scheme: light dark; supported-color-schemes: light dark }
  body { margin: 0; padding: 24px 12px; background: #f4f5f7; color: #1c2430; font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif }
  main { max-width: 34rem; margin: 0 auto; padding: 28px; background: #fff; border: 1px solid #dfe3e8; border-radius: 10px }
  h1 { margin: 0 0 16px; font-size: 20px; line-height: 1.3 }
  p { margin: 0 0 16px }
  table { margin: 0 0 16px; border-collapse: collapse }
  th { padding: 4px 20px 4px 0; color: #5a6675; font-weight: 400; text-align: left; vertical-align: top }
  td { padding: 4px 0; overflow-wrap: anywhere }
  a { color: #0b57b7 }
  .button { display: inline-block; padding: 10px 18px; background: #0b57b7; color: #fff; border-radius: 6px; font-weight: 600; text-decoration: none }
  .small { color: #5a6675; font-size: 13px; overflow-wrap: anywhere }
  footer { max-width: 34rem; margin: 16px auto 0; padding: 0 28px }
  @media (prefers-color-scheme: dark) {
    body { background: #10151c; color: #e6eaf0 }
    main { background: #1a212b; border-color: #303a47 }
    th, .small { color: #a3afbf }
    a { color: #8ab8ff }
    .button { background: #8ab8ff; color: #10151c }
  }`

function htmlOf({ locale, subject, greeting, intro, facts, advice, link, footer }: Content): string {
  const [label, url] = [escapeHtml(link.label), escapeHtml(link.url)]
  const rows = facts.map(
    ([name, value]) => `<tr><th scope="row">${escapeHtml(name)}</th><td>${escapeHtml(value)}</td></tr>`,
  )
  return `<!doctype html>
<html lang="${locale}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<meta name="supported-color-schemes" content="light dark">
<title>${escapeHtml(subject)}</title>
<style>${style}
</style>
</head>
<body>
<main>
<h1>${escapeHtml(subject)}</h1>
<p>${escapeHtml(greeting)}</p>
<p>${escapeHtml(intro)}</p>
<table>${rows.join('\n')}</table>
${advice.map((paragraph) => `<p>${escapeHtml(paragraph)}</p>`).join('\n')}
<p><a class="button" href="${url}">${label}</a></p>
<p class="small">${url}</p>
</main>
<footer class="small">${escapeHtml(footer)}</footer>
</body>
</html>
`
}

const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

/** Text as HTML, also in an attribute. */
function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => entities[character] as string)
}

/** In UTC: where the reader's clock stands is not known. */
export function formatTime(at: Date, locale: Locale): string {
  const format = new Intl.DateTimeFormat(locale === 'de' ? 'de-DE' : 'en-GB', {
    dateStyle: 'long',
    timeStyle: 'short',
    timeZone: 'UTC',
  })
  return `${format.format(at)} UTC`
}
