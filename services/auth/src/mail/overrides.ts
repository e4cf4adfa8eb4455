import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ConfigurationError } from '@sallyport/chassis'
import type { Liquid, Template as Parsed } from 'liquidjs'
import type { TicketSecrets } from '../accounts/tickets.ts'
import { htmlOfText, layOut, type Message } from './layout.ts'
import type { Mail, Template } from './mails.ts'
import { sampleSecrets, samples } from './samples.ts'
import { type App, contentOf, valuesOf } from './templates.ts'
import { type Locale, locales } from './words.ts'

type Part = keyof Message

/** Bounds of one template: characters of its source, milliseconds and objects of a rendering, and the parts that are run. */
const bounds = { parseLimit: 100_000, renderLimit: 1_000, memoryLimit: 1_000_000 }
const templateLimit = 10_000

const fileName = /^(\w+)\.(subject|text|html)\.liquid$/

/** Renders mails, with the templates of a folder in the place of ours. */
export type Render = (mail: Mail, secrets?: TicketSecrets) => Message

/**
 * Reads the templates of a folder (docs/mail.md) and tries each with sample data. Nothing is read later, and templates
 * reach no file but the parts of the folder.
 *
 * @param folder undefined: every mail is ours
 * @throws ConfigurationError with a line for each file that is wrong
 */
export async function openTemplates(folder: string | undefined, app: App): Promise<Render> {
  if (folder === undefined) return (mail, secrets) => layOut(contentOf(mail, app, secrets))
  const { Liquid } = await import('liquidjs')
  const complaints: string[] = []
  const refuse = (file: string, why: string) => complaints.push(`MAIL_TEMPLATES: ${join(folder, file)}: ${why}`)

  /** A mounted ConfigMap has files of its own that begin with a dot. */
  function list(path: string): string[] {
    try {
      return readdirSync(join(folder as string, path)).filter((name) => !name.startsWith('.'))
    } catch (error) {
      refuse(
        path,
        `cannot be read (${(error as NodeJS.ErrnoException).code}); correct the path, or unset MAIL_TEMPLATES`,
      )
      return []
    }
  }
  const read = (file: string) => readFileSync(join(folder, file), 'utf8')

  const parts: Record<string, string> = {}
  const found: Locale[] = []
  for (const name of list('')) {
    if (/^_[\w-]+\.liquid$/.test(name)) parts[name] = read(name)
    else if (locales.includes(name as Locale)) found.push(name as Locale)
    else refuse(name, `is neither a language (${locales.join(', ')}) nor a part (_name.liquid); rename or remove it`)
  }

  const options = { ...bounds, strictVariables: true, strictFilters: true, ownPropertyOnly: true, templates: parts }
  const plain = new Liquid({ ...options, extname: '.liquid' })
  const engines: Record<Part, Liquid> = {
    subject: plain,
    text: plain,
    html: new Liquid({ ...options, extname: '.liquid', outputEscape: (value) => htmlOfText(String(value ?? '')) }),
  }

  const parsed = new Map<string, Parsed[]>()
  const keyOf = (locale: Locale, template: Template, part: Part) => `${locale}/${template}.${part}.liquid`

  /** One part of a mail, if the folder has it. */
  function renderPart(mail: Mail, part: Part, secrets: TicketSecrets | undefined): string | undefined {
    const { locale, ...values } = valuesOf(mail, app, secrets)
    const template = parsed.get(keyOf(locale, mail.template, part))
    // A subject is shown in lists and notices, where nobody expects the words of a stranger.
    const scope = part === 'subject' ? { app, locale } : { app, locale, ...values }
    return template && engines[part].renderSync(template, scope, { templateLimit })
  }

  const render: Render = (mail, secrets) => {
    const { subject, text, html } = layOut(contentOf(mail, app, secrets))
    return {
      subject: renderPart(mail, 'subject', secrets)?.replace(/\s+/g, ' ').trim() ?? subject,
      text: renderPart(mail, 'text', secrets) ?? text,
      html: renderPart(mail, 'html', secrets) ?? html,
    }
  }

  for (const locale of found)
    for (const name of list(locale)) {
      const file = `${locale}/${name}`
      const [, template, part] = fileName.exec(name) ?? []
      const sample = samples.find((mail) => mail.template === template)
      if (!sample) {
        refuse(file, `is no template; name it <mail>.subject.liquid, .text.liquid or .html.liquid, of ${names}`)
        continue
      }
      try {
        parsed.set(file, engines[part as Part].parse(read(file), file))
        renderPart({ ...sample, locale }, part as Part, sampleSecrets)
      } catch (error) {
        const { locale: _, ...values } = valuesOf(sample, app, sampleSecrets)
        const known = ['app.name', 'app.origin', 'locale', ...(part === 'subject' ? [] : Object.keys(values))]
        const { message } = error as Error
        refuse(file, `${message.replace(`, file:${file}`, '')}; it knows ${known.join(', ')}`)
      }
    }
  if (complaints.length > 0) throw new ConfigurationError(complaints.join('\n'))
  return render
}

const names = samples.map(({ template }) => template).join(', ')
