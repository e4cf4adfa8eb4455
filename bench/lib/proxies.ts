import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { freePort } from '@sallyport/local'

const examples = fileURLToPath(new URL('../../../examples/', import.meta.url))
export const readExample = (file: string): string => readFileSync(join(examples, file), 'utf8')

export interface Addresses {
  /** Ports of 127.0.0.1: where Sallyport answers proxies, and the service behind. */
  sallyport: number
  service: number
  /** The auth service, where users sign in through the proxy. */
  auth?: number
}

/** Writes the files of an example, and gives its program the arguments that make it run. */
type Prepare = (folder: string, copy: (file: string) => string) => string[]

const proxies = {
  nginx(folder, copy) {
    copy('nginx/sallyport-headers.conf')
    const server = copy('nginx/sallyport.conf')
    const main = join(folder, 'nginx.conf')
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((of) => `${of}_temp_path ${folder};`)
    writeFileSync(
      main,
      `daemon off; master_process off; pid ${folder}/nginx.pid; error_log stderr crit; events {}
http { access_log off; ${temporary.join(' ')} include ${server}; }`,
    )
    return ['-e', 'stderr', '-c', main]
  },
  haproxy(_folder, copy) {
    copy('haproxy/sallyport.lua')
    return ['-db', '-f', copy('haproxy/haproxy.cfg')]
  },
  caddy: (_folder, copy) => ['run', '--adapter', 'caddyfile', '--config', copy('caddy/Caddyfile')],
} satisfies Record<string, Prepare>

export type ProxyName = keyof typeof proxies
export const proxyNames = Object.keys(proxies) as ProxyName[]

/** Why this proxy cannot be had here, or false if it can. */
export const isMissing = (proxy: ProxyName): string | false =>
  spawnSync(proxy, ['-v']).error !== undefined && `install ${proxy}`

/**
 * Starts a proxy of examples/ as its file there says, with other addresses in the place of those in it.
 *
 * @param folder for what it writes
 */
export async function startExample(proxy: ProxyName, folder: string, { sallyport, service, auth = 1 }: Addresses) {
  const port = await freePort()
  const copy = (file: string) => {
    const path = join(folder, file.split('/').at(-1) as string)
    const text = readExample(file)
      .replaceAll(':8080', `:${port}`)
      .replaceAll('127.0.0.1:5100', `127.0.0.1:${sallyport}`)
      .replaceAll('127.0.0.1:5001', `127.0.0.1:${auth}`)
      .replaceAll('127.0.0.1:8081', `127.0.0.1:${service}`)
      .replaceAll(/\/etc\/(nginx|haproxy)\//g, `${folder}/`)
    writeFileSync(path, text)
    return path
  }
  // Caddy keeps files of its own, and listens for commands where another one may.
  const own = { HOME: folder, XDG_CONFIG_HOME: folder, XDG_DATA_HOME: folder, CADDY_ADMIN: `unix/${folder}/admin` }
  const environment = { ...process.env, ...own }
  const child = spawn(proxy, proxies[proxy](folder, copy), { env: environment, stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text) => {
    said = (said + text).slice(-4_000)
  })
  while (!(await accepts(port))) if (child.exitCode !== null) throw new Error(`${proxy} did not start: ${said}`)
  return {
    /** Where clients reach it. */
    port,
    async stop() {
      if (child.exitCode !== null) return
      child.kill('SIGKILL')
      await once(child, 'exit')
    },
  }
}

async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  const connected = await Promise.race([
    once(socket, 'connect').then(() => true),
    once(socket, 'error').then(() => false),
  ]).catch(() => false)
  socket.destroy()
  return connected
}
