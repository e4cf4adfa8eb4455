import { once } from 'node:events'
import { createServer } from 'node:net'
import { endProcesses, startProcess } from '@sallyport/local'
import t, { type Test } from 'tap'
import { openGateway } from '../support/edge.ts'

const page = { accept: 'text/html' }

async function startWeb(t: Test, settings: Record<string, string> = {}) {
  const web = await startProcess('web', { ...process.env, WEB_PORT: '0', ...settings }, () => {})
  t.teardown(() => endProcesses([web]))
  return { web: `http://127.0.0.1:${web.port}`, management: `http://127.0.0.1:${web.managementPort}` }
}

t.test('behind the gateway the page and the API are one origin, and the page keeps its own policy', async (t) => {
  const { web, management } = await startWeb(t)
  t.equal((await fetch(`${management}/readyz`)).status, 200)
  const { gateway } = await openGateway(t, [{ prefix: '/', upstreams: [web], access: 'public' }])
  for (const path of ['/', '/appointments']) {
    const response = await fetch(gateway + path, { headers: page })
    t.equal(response.status, 200)
    const html = await response.text()
    t.match(html, '<meta name="gateway" content="" />')
    t.match(response.headers.get('content-security-policy'), "connect-src 'self';")
    t.equal(response.headers.get('cache-control'), 'no-store')
    const [script] = /\/assets\/[\w-]+\.js/.exec(html) as unknown as [string]
    const asset = await fetch(gateway + script)
    t.equal(asset.status, 200, 'the page that was built names files that are there')
    t.equal(asset.headers.get('cache-control'), 'public, max-age=31536000, immutable')
  }
  t.equal((await fetch(`${gateway}/assets/none.js`, { headers: page })).status, 404)
})

t.test('a port that is taken is one line', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1')
  t.teardown(() => taken.close())
  await once(taken, 'listening')
  const { port } = taken.address() as { port: number }
  await t.rejects(startWeb(t, { WEB_PORT: String(port) }), {
    message: `sallyport web: port ${port} is taken; set WEB_PORT to a free one, or stop what listens there`,
  })
})
