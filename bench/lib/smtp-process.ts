import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { setPriority } from 'node:os'
import { simpleParser } from 'mailparser'
import { SMTPServer } from 'smtp-server'

/** The mail server of a bench, for smtp.ts. It takes everything, and parses what somebody asks for alone. */

// Its time is not the system's: a real one is another machine.
setPriority(19)
const mails: { to: string; raw: string }[] = []
const asked = new Map<string, () => void>()

const server = new SMTPServer({
  authOptional: true,
  disabledCommands: ['STARTTLS'],
  disableReverseLookup: true,
  logger: false,
  onData(stream, { envelope }, done) {
    let raw = ''
    stream.setEncoding('utf8')
    stream.on('data', (text: string) => {
      raw += text
    })
    stream.once('end', () => {
      done()
      for (const { address } of envelope.rcptTo) {
        mails.push({ to: address, raw })
        asked.get(address)?.()
      }
    })
  },
})
server.on('error', () => {})
server.listen(0, '127.0.0.1')
await once(server.server, 'listening')

process.on('disconnect', process.exit)
process.on('message', async (question: { id: number; to: string } | { id: number; count: true }) => {
  const { id } = question
  if ('count' in question) return process.send?.({ id, count: mails.length })
  const { to } = question
  const take = () => mails.findIndex((mail) => mail.to === to)
  if (take() < 0) await new Promise<void>((resolve) => asked.set(to, resolve))
  asked.delete(to)
  const [mail] = mails.splice(take(), 1)
  const { subject = '', text = '' } = await simpleParser(mail?.raw ?? '')
  process.send?.({ id, subject, text })
})
process.send?.({ port: (server.server.address() as AddressInfo).port })
