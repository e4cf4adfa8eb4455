import { once } from 'node:events'
import { request } from 'node:http'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { type MailboxMessage, startMailbox } from './mailbox.ts'
import { freePort } from './system.ts'

async function open(t: Test) {
  const ports = { smtp: await freePort(), page: await freePort() }
  const mailbox = await startMailbox(ports)
  t.teardown(mailbox.close)
  const at = `http://localhost:${ports.page}`
  return {
    ...ports,
    at,
    messages: async (): Promise<MailboxMessage[]> =>
      (await fetch(`${at}/api/messages`)).json() as Promise<MailboxMessage[]>,
  }
}

/** Speaks SMTP by hand, a line at a time. */
async function speak(port: number, lines: string[]): Promise<string> {
  const socket = connect(port, '127.0.0.1').setEncoding('utf8')
  let said = String(await once(socket, 'data'))
  for (const line of lines) {
    socket.write(`${line}\r\n`)
    said += await once(socket, 'data')
  }
  socket.destroy()
  return said
}

const deliver = (port: number, content: string, login: string[] = []) =>
  speak(port, [
    'EHLO test',
    ...login,
    'MAIL FROM:<a@b.c>',
    'RCPT TO:<x@y.z>',
    'RCPT TO:<v@y.z>',
    'DATA',
    `${content}\r\n.`,
  ])

const both = (subject: string, html: string) =>
  `Subject: ${subject}\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\nplain <i>text</i>\r\n--b\r\nContent-Type: text/html\r\n\r\n${html}\r\n--b--`

t.test('a mail of nothing but a file has no text', async (t) => {
  const { smtp, messages } = await open(t)
  await deliver(smtp, 'Subject: File\r\nContent-Type: application/octet-stream\r\n\r\nbytes')
  t.match(await messages(), [{ subject: 'File', text: '', html: '' }])
})

t.test('what came is shown, the newest first', async (t) => {
  const { smtp, at, messages } = await open(t)
  t.match(await (await fetch(at)).text(), 'No mail yet')
  const login = [`AUTH PLAIN ${Buffer.from('\0any\0one').toString('base64')}`]
  await deliver(smtp, both('<b>One</b>', '<html><head><title>x</title></head><body>Hello</body></html>'), login)
  await deliver(smtp, 'X-Nothing: here\r\n\r\nonly text')
  await deliver(smtp, both('Three', '<p>no head</p>'))
  const [three, two, one] = await messages()
  t.match(three, { id: '3', subject: 'Three', html: /no head/ })
  t.match(two, { id: '2', to: 'x@y.z, v@y.z', subject: '', text: /only text/, html: '' })
  t.match(one, { id: '1', subject: '<b>One</b>', text: /plain <i>/, html: /Hello/, receivedAt: /^20\d\d-.*Z$/ })

  const page = await fetch(at)
  const policy = page.headers.get('content-security-policy')
  t.match(
    policy,
    /^default-src 'none'; style-src 'sha256-\S+'; script-src 'sha256-\S+'; connect-src 'self'; frame-src 'self'; /,
  )
  t.notMatch(policy, /unsafe/)
  const list = await page.text()
  t.match(list, '&lt;b&gt;One&lt;/b&gt;')
  t.match(list, 'Choose a message.')
  t.match(list, '(no subject)')
  t.match(list, 'prefers-color-scheme: dark')

  const read = async (path: string) => (await fetch(at + path)).text()
  t.match(await read('/messages/1'), /<iframe [^>]*sandbox="allow-popups [^"]*" src="\/messages\/1\/html">/)
  t.match(await read('/messages/1/text'), '<pre>plain &lt;i&gt;text&lt;/i&gt;')
  t.match(await read('/messages/2'), '<pre>only text')
  t.notMatch(await read('/messages/2'), '>HTML</a>')
  const mail = await fetch(`${at}/messages/1/html`)
  t.match(mail.headers.get('content-security-policy'), /^default-src 'none'; .* sandbox allow-popups /)
  t.match(await mail.text(), '<head><base target="_blank"><title>')
  t.match(await read('/messages/3/html'), /^<base target="_blank"><p>no head/)
})

t.test('what is not there, or not for the page that asks, is refused', async (t) => {
  const { at, page } = await open(t)
  for (const path of ['/messages/1', '/messages/x', '/other']) t.equal((await fetch(at + path)).status, 404, path)
  t.equal((await fetch(at, { method: 'POST' })).status, 405)
  t.equal((await fetch(at, { method: 'HEAD' })).status, 200)
  const rebound = request({ port: page, host: '127.0.0.1', path: '/api/messages', headers: { host: 'evil.example' } })
  const [response] = await once(rebound.end(), 'response')
  t.equal(response.statusCode, 421)
  await text(response)
  const bare = connect(page, '127.0.0.1').setEncoding('utf8')
  bare.write('GET / HTTP/1.0\r\n\r\n')
  t.match(String(await once(bare, 'data')), 'HTTP/1.1 421')
})

t.test('the last 200 are kept, and none that is too large', async (t) => {
  const { smtp, messages } = await open(t)
  for (let index = 1; index <= 201; index++) await deliver(smtp, `Subject: ${index}\r\n\r\nx`)
  const kept = await messages()
  t.equal(kept.length, 200)
  t.equal(kept[0]?.subject, '201')
  t.equal(kept.at(-1)?.subject, '2')
  const line = `${'x'.repeat(998)}\r\n`
  t.match(await deliver(smtp, `Subject: large\r\n\r\n${line.repeat(10_600)}`), '552')
  // One that hangs up in the middle of a mail.
  const socket = connect(smtp, '127.0.0.1')
  await once(socket, 'data')
  socket.resetAndDestroy()
  await sleep(50)
  t.equal((await messages())[0]?.subject, '201')
})
