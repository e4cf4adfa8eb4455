import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type ParsedMail, simpleParser } from 'mailparser'
import { SMTPServer } from 'smtp-server'
import { contentPolicy, listPage, mailDocument, mailPolicy, messagePage, missingPage } from './mailbox-page.ts'

/** A message as the mailbox shows it, and as JSON. */
export interface MailboxMessage {
  id: string
  to: string
  subject: string
  text: string
  html: string
  /** ISO 8601, in UTC. */
  receivedAt: string
}

export interface Mailbox {
  close: () => Promise<void>
}

/** How many messages are kept: the last ones, until the process ends. */
const kept = 200

/** Bytes of one message. */
const largest = 10 * 1024 * 1024

/** Nobody but this machine. */
const host = '127.0.0.1'

/**
 * An SMTP server that delivers nothing: what it takes is shown on a page. It wants neither a password nor TLS, and
 * listens on this machine alone.
 */
export async function startMailbox(ports: { smtp: number; page: number }): Promise<Mailbox> {
  const messages: MailboxMessage[] = []
  let count = 0
  const smtp = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS'],
    disableReverseLookup: true,
    size: largest,
    closeTimeout: 500,
    logger: false,
    onAuth: (_auth, _session, done) => done(null, { user: 'anyone' }),
    onData(stream, { envelope }, done) {
      simpleParser(stream).then((mail) => {
        if (stream.sizeExceeded) return done(Object.assign(new Error('too large'), { responseCode: 552 }))
        count += 1
        messages.unshift(toMessage(String(count), mail, envelope.rcptTo.map(({ address }) => address).join(', ')))
        messages.splice(kept)
        done()
      }, done)
    },
  })
  // A client that goes before it is done.
  smtp.on('error', () => {})
  const page = createServer((request, response) => serve(request, response, messages))
  smtp.listen(ports.smtp, host)
  page.listen(ports.page, host)
  await Promise.all([once(smtp.server, 'listening'), once(page, 'listening')])
  return {
    async close() {
      page.close()
      page.closeAllConnections()
      await new Promise<void>((resolve) => smtp.close(resolve))
    },
  }
}

function toMessage(id: string, { subject, text, html }: ParsedMail, to: string): MailboxMessage {
  return { id, to, subject: subject ?? '', text: text ?? '', html: html || '', receivedAt: new Date().toISOString() }
}

const headers = {
  'cache-control': 'no-store',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'cross-origin-resource-policy': 'same-origin',
}

function serve(
  { method, url = '/', headers: sent }: IncomingMessage,
  response: ServerResponse,
  messages: MailboxMessage[],
): void {
  const respond = (status: number, type: string, body: string, policy = contentPolicy) =>
    response
      .writeHead(status, { ...headers, 'content-type': `${type}; charset=utf-8`, 'content-security-policy': policy })
      .end(body)
  // A page elsewhere whose name was made to lead here must not read what is in the mails.
  if (!/^(localhost|127\.0\.0\.1)(:\d+)?$/.test(sent.host ?? ''))
    return void respond(421, 'text/plain', 'Open it by localhost\n')
  if (method !== 'GET' && method !== 'HEAD') return void respond(405, 'text/plain', 'GET only\n')
  const path = url.split('?', 1)[0]
  if (path === '/') return void respond(200, 'text/html', listPage(messages))
  if (path === '/api/messages') return void respond(200, 'application/json', JSON.stringify(messages))
  const [, id, part] = /^\/messages\/(\d+)(\/text|\/html)?$/.exec(path as string) ?? []
  const message = messages.find((candidate) => candidate.id === id)
  if (!message) return void respond(404, 'text/html', missingPage(messages))
  if (part === '/html') return void respond(200, 'text/html', mailDocument(message), mailPolicy)
  respond(200, 'text/html', messagePage(messages, message, part === '/text' || message.html === '' ? 'text' : 'html'))
}
