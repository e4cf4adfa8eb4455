import { once } from 'node:events'
import type { AddressInfo, Server } from 'node:net'
import { type ParsedMail, simpleParser } from 'mailparser'
import { SMTPServer, type SMTPServerOptions } from 'smtp-server'
import type { Test } from 'tap'

export interface Smtp {
  port: number
  /** What came, the first first. */
  mails: ParsedMail[]
  server: Server
  close: () => Promise<void>
}

/** An SMTP server of the test's own. Without other options it takes anything, without TLS. */
export async function startSmtp(t: Test, options: SMTPServerOptions = {}, port = 0): Promise<Smtp> {
  const mails: ParsedMail[] = []
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS'],
    logger: false,
    onData(stream, _session, done) {
      simpleParser(stream).then((mail) => {
        mails.push(mail)
        done()
      }, done)
    },
    ...options,
  })
  // A client that goes is no concern of the test.
  server.on('error', () => {})
  server.listen(port, '127.0.0.1')
  await once(server.server, 'listening')
  const close = () => new Promise<void>((resolve) => server.close(resolve))
  t.teardown(close)
  return { port: (server.server.address() as AddressInfo).port, mails, server: server.server, close }
}
