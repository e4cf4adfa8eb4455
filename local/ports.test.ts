import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import t, { type Test } from 'tap'
import { choosePorts as chooseFor } from './ports.ts'

const usual = { gateway: 5000, auth: 5001, appointments: 5002, notifications: 5003, web: 5173 }
const choosePorts = (environment: NodeJS.ProcessEnv, timeout?: number) => chooseFor(environment, usual, timeout)

const anyPort = {
  EMBEDDED_PG_PORT: '0',
  GATEWAY_PORT: '0',
  AUTH_PORT: '0',
  APPOINTMENTS_PORT: '0',
  NOTIFICATIONS_PORT: '0',
  WEB_PORT: '0',
  MAILBOX_SMTP_PORT: '0',
  MAILBOX_PORT: '0',
}

async function take(t: Test) {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return { server, port: String((server.address() as AddressInfo).port) }
}

t.test('where any port will do, each has one of its own', async (t) => {
  const { postgres, mailbox, of, settings } = await choosePorts(anyPort)
  t.equal(new Set([postgres, mailbox.smtp, mailbox.page, ...Object.values(of)]).size, 8)
  t.equal(settings.AUTH_PORT, String(of.auth))
  t.equal(settings.AUTH_MANAGEMENT_PORT, '0')
})

t.test('health and metrics are at the port + 1000, unless that is set', async (t) => {
  const { of } = await choosePorts(anyPort)
  const WEB_PORT = String(of.web)
  t.equal((await choosePorts({ ...anyPort, WEB_PORT })).settings.WEB_MANAGEMENT_PORT, String(Number(WEB_PORT) + 1000))
  t.equal((await choosePorts({ ...anyPort, WEB_PORT, MANAGEMENT_PORT: '0' })).settings.WEB_MANAGEMENT_PORT, '0')
  const WEB_MANAGEMENT_PORT = String(of.gateway)
  const { settings } = await choosePorts({ ...anyPort, WEB_PORT, WEB_MANAGEMENT_PORT })
  t.equal(settings.WEB_MANAGEMENT_PORT, WEB_MANAGEMENT_PORT)
})

t.test('every port that cannot be had has a line, with the variable that helps', async (t) => {
  const [one, two] = [await take(t), await take(t)]
  const wanted = { ...anyPort, EMBEDDED_PG_PORT: one.port, WEB_MANAGEMENT_PORT: two.port }
  await t.rejects(choosePorts(wanted), {
    message: new RegExp(
      `^port ${one.port} is taken; set EMBEDDED_PG_PORT .*\nport ${two.port} is taken; set WEB_MANAGEMENT_PORT [^\n]*$`,
    ),
  })
  const { of } = await choosePorts(anyPort)
  const twice = { ...anyPort, AUTH_PORT: String(of.auth), WEB_PORT: String(of.auth) }
  await t.rejects(choosePorts({ ...twice, MANAGEMENT_PORT: '0' }), {
    message: `AUTH_PORT and WEB_PORT are both ${of.auth}; set one of them to another port`,
  })
  await t.rejects(choosePorts({ ...anyPort, MANAGEMENT_PORT: '6000' }), {
    message: /MANAGEMENT_PORT is for one process, and here are 5; set GATEWAY_MANAGEMENT_PORT, AUTH_/,
  })
  await t.rejects(choosePorts({ ...anyPort, HOST: '203.0.113.1' }), {
    message: /cannot listen on 203.0.113.1 port \d+ \(.*\); set HOST to an address of this machine/,
  })
  const each = /port 5000 [\s\S]*port 6000 [\s\S]*port 5173 [\s\S]*port 6173 /
  await t.rejects(choosePorts({ HOST: '203.0.113.1' }), { message: each })
  await t.rejects(choosePorts({ ...anyPort, WEB_PORT: '65000' }), {
    message: /cannot listen on 127.0.0.1 port 66000 \(.*\); set WEB_MANAGEMENT_PORT to another one/,
  })
})

t.test('the ports of the mailbox are like the others', async (t) => {
  const { port } = await take(t)
  await t.rejects(choosePorts({ ...anyPort, MAILBOX_PORT: port }), {
    message: `port ${port} is taken; set MAILBOX_PORT to a free one, or stop what listens there`,
  })
  const chosen = await choosePorts({ ...anyPort, MAILBOX_SMTP_PORT: undefined, MAILBOX_PORT: undefined }).catch(
    ({ message }) => message,
  )
  // Something may have them.
  t.match(typeof chosen === 'string' ? chosen : JSON.stringify(chosen.mailbox), /1025|8025/)
})

t.test('ports that are about to be free are waited for', async (t) => {
  const { server, port } = await take(t)
  setTimeout(() => server.close(), 100)
  t.equal((await choosePorts({ ...anyPort, EMBEDDED_PG_PORT: port }, 10_000)).postgres, Number(port))
})
