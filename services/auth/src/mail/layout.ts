import { escapeHtml } from '@sallyport/chassis'
import { isolate } from './foreign.ts'
import type { Locale } from './words.ts'

/** A mail before it is laid out: plain text, of which nothing is markup. What is foreign in it is isolated. */
export interface Content {
  locale: Locale
  /** The name of the system. */
  app: string
  subject: string
  title: string
  greeting: string
  intro: string
  /** What is known, as names and values. */
  facts: [name: string, value: string][]
  /** `address` introduces the URL, for programs that show no button. */
  link: { label: string; url: string; address: string; validFor: string | undefined }
  code: { intro: string; digits: string } | undefined
  forgot: { label: string; url: string } | undefined
  advice: string[]
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

function textOf({ title, greeting, intro, facts, link, code, forgot, advice, footer }: Content): string {
  const paragraphs = [
    title,
    greeting,
    intro,
    facts.map(([name, value]) => `${name}: ${value}`).join('\n'),
    `${link.label}: ${link.url}`,
    link.validFor,
    code && `${code.intro} ${code.digits}`,
    forgot && `${forgot.label} ${forgot.url}`,
    ...advice,
    `-- \n${footer}`,
  ]
  return `${paragraphs.filter(Boolean).join('\n\n')}\n`
}

const font = "font-family:system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif"

/** On each element, as some programs (Outlook, Gmail for other providers' accounts) keep no style sheet. */
const inline = {
  text: `margin:0 0 16px;${font};font-size:16px;line-height:24px;color:#1c2430;overflow-wrap:anywhere;word-break:break-word`,
  soft: `margin:0 0 16px;${font};font-size:14px;line-height:20px;color:#56616f`,
  title: `margin:0 0 16px;${font};font-size:22px;line-height:28px;font-weight:700;color:#1c2430`,
  brand: `margin:0 0 20px;${font};font-size:14px;line-height:20px;font-weight:600;color:#56616f`,
  fact: `padding:4px 16px 4px 0;${font};font-size:14px;line-height:20px;color:#56616f;font-weight:400;text-align:left;vertical-align:top;white-space:nowrap`,
  value: `padding:4px 0;${font};font-size:14px;line-height:20px;color:#1c2430;vertical-align:top;overflow-wrap:anywhere;word-break:break-word`,
  button: `display:inline-block;padding:12px 22px;${font};font-size:16px;line-height:22px;font-weight:600;color:#ffffff;text-decoration:none;border-radius:8px`,
  code: "margin:0 0 16px;font-family:ui-monospace,'SF Mono',Consolas,Menlo,monospace;font-size:26px;line-height:34px;font-weight:600;letter-spacing:4px;color:#1c2430",
  address: `${font};font-size:13px;line-height:18px;color:#56616f;overflow-wrap:anywhere;word-break:break-all`,
  footer: `margin:0;${font};font-size:13px;line-height:18px;color:#56616f`,
}

/** The rest, for programs that keep it: the dark scheme, or programs invert colours at will, and narrow screens. */
const style = `
  :root { color-scheme: light dark; supported-color-schemes: light dark }
  @media (max-width: 480px) { .ground { padding: 12px 8px !important } .inside { padding: 22px 18px !important } }
  @media (prefers-color-scheme: dark) {
    body, .page { background: #10151c !important }
    .sheet { background: #1a212b !important; border-color: #303a47 !important }
    .ink { color: #e6eaf0 !important }
    .soft { color: #a3afbf !important }
    .line { border-color: #303a47 !important }
    .fill { background: #8ab8ff !important }
    .button { color: #10151c !important }
    .link { color: #8ab8ff !important }
  }`

const link = (url: string) => `<a class="link" href="${url}" style="color:#0b57b7">${url}</a>`
const paragraph = (text: string) => `<p class="ink" style="${inline.text}">${text}</p>\n`
const soft = (text: string) => `<p class="soft" style="${inline.soft}">${text}</p>\n`

function htmlOf(content: Content): string {
  const { locale, app, subject, title, greeting, intro, facts, link: main, code, forgot, advice, footer } = content
  const url = htmlOfText(main.url)
  const rows = facts.map(
    ([name, value]) =>
      `<tr><th class="soft" scope="row" style="${inline.fact}">${htmlOfText(name)}</th><td class="ink" style="${inline.value}">${htmlOfText(value)}</td></tr>\n`,
  )
  const table =
    rows.length > 0 &&
    `<table cellpadding="0" cellspacing="0" border="0" style="margin:0 0 16px;border-collapse:collapse">\n${rows.join('')}</table>\n`
  const parts = [
    `<p class="soft" style="${inline.brand}">${htmlOfText(app)}</p>\n`,
    `<h1 class="ink" style="${inline.title}">${htmlOfText(title)}</h1>\n`,
    paragraph(htmlOfText(greeting)),
    paragraph(htmlOfText(intro)),
    table,
    `<table role="presentation" cellpadding="0" cellspacing="0" border="0" style="margin:8px 0 20px"><tr><td class="fill" bgcolor="#0b57b7" style="border-radius:8px"><a class="button" href="${url}" style="${inline.button}">${htmlOfText(main.label)}</a></td></tr></table>\n`,
    main.validFor && soft(htmlOfText(main.validFor)),
    code && soft(htmlOfText(code.intro)),
    code && `<p class="ink" style="${inline.code}">${htmlOfText(code.digits)}</p>\n`,
    forgot && paragraph(`${htmlOfText(forgot.label)}<br>${link(htmlOfText(forgot.url))}`),
    ...advice.map((text) => paragraph(htmlOfText(text))),
    `<p class="soft line" style="margin:24px 0 0;padding:16px 0 0;border-top:1px solid #dfe3e8;${inline.address}">${htmlOfText(main.address)}<br>${link(url)}</p>\n`,
  ]
  return `<!doctype html>
<html lang="${locale}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<meta name="supported-color-schemes" content="light dark">
<meta name="format-detection" content="telephone=no, date=no, address=no, email=no, url=no">
<title>${htmlOfText(subject)}</title>
<style>${style}
</style>
</head>
<body style="margin:0;padding:0;background:#f4f5f7">
<table class="page" role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0" bgcolor="#f4f5f7"><tr><td class="ground" align="center" style="padding:24px 12px">
<!--[if mso]><table role="presentation" width="560"><tr><td><![endif]-->
<table class="sheet" role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0" bgcolor="#ffffff" style="max-width:560px;table-layout:fixed;border:1px solid #dfe3e8;border-radius:12px;border-collapse:separate"><tr><td class="inside" align="left" style="padding:28px">
${parts.filter(Boolean).join('')}</td></tr></table>
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0" style="max-width:560px"><tr><td align="left" style="padding:16px 28px 0"><p class="soft" style="${inline.footer}">${htmlOfText(footer)}</p></td></tr></table>
<!--[if mso]></td></tr></table><![endif]-->
</td></tr></table>
</body>
</html>
`
}

/** Text as HTML. Marks around what is foreign become the element for it. */
export function htmlOfText(text: string): string {
  return escapeHtml(text).replaceAll(isolate.begin, '<bdi>').replaceAll(isolate.end, '</bdi>')
}
