import { readdirSync, readFileSync } from 'node:fs'
import type { ProxyName } from './options.ts'

/** What runs it in a container. */
export function proxyService(proxy: ProxyName): { proxyImage: string; proxyCommand: string; proxyRun: string } {
  const { image, command, run } = programs[proxy]
  return { proxyImage: image, proxyCommand: JSON.stringify(command), proxyRun: run }
}

const programs: Record<ProxyName, { image: string; command: string[]; run: string }> = {
  nginx: {
    image: 'nginx:1.29',
    command: ['nginx', '-e', 'stderr', '-p', '/proxy', '-c', 'nginx.conf'],
    run: 'nginx -e stderr -p "$PWD/proxy/local" -c nginx.conf',
  },
  caddy: {
    image: 'caddy:2.10',
    command: ['caddy', 'run', '--adapter', 'caddyfile', '--config', '/proxy/Caddyfile'],
    run: 'caddy run --adapter caddyfile --config proxy/local/Caddyfile',
  },
  haproxy: {
    image: 'haproxy:3.2',
    command: ['haproxy', '-db', '-f', '/proxy/haproxy.cfg'],
    run: 'haproxy -db -f proxy/local/haproxy.cfg',
  },
  traefik: {
    image: 'traefik:v3.5',
    command: ['traefik', '--entrypoints.web.address=:8080', '--providers.file.filename=/proxy/sallyport.yaml'],
    run: 'traefik --entrypoints.web.address=127.0.0.1:8080 --providers.file.filename=proxy/local/sallyport.yaml',
  },
  envoy: {
    image: 'envoyproxy/envoy:v1.35-latest',
    command: ['envoy', '-c', '/proxy/envoy.yaml'],
    run: 'envoy -c proxy/local/envoy.yaml',
  },
}

/** nginx has files of this kind in a folder of its own; here it is to run as anybody. */
const nginxMain = (name: string) => `daemon off;
pid /tmp/${name}-nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((of) => `    ${of}_temp_path /tmp/${name}-nginx;\n`).join('')}\
    include sallyport.conf;
}
`

/** The places of an example, as it has them, and as they are in a project. */
interface Places {
  listen: string
  sallyport: string
  service: string
  /** Where the files lie, as the program sees them. */
  folder: string
}

const places: Record<'local' | 'compose', Places> = {
  local: { listen: '127.0.0.1', sallyport: '127.0.0.1', service: '127.0.0.1', folder: 'proxy/local/' },
  // The addresses of docker-compose.yml.
  compose: { listen: '0.0.0.0', sallyport: '172.31.250.2', service: '172.31.250.3', folder: '/proxy/' },
}

/** The configuration of a proxy by path: the example's, with the addresses of the project. */
export function proxyFiles(proxy: ProxyName, name: string): Map<string, string> {
  const example = new URL(`../parts/proxies/${proxy}/`, import.meta.url)
  const files = new Map<string, string>()
  for (const [where, of] of Object.entries(places)) {
    const at = (file: string) => `proxy/${where}/${file}`
    for (const file of readdirSync(example))
      files.set(at(file), address(withoutAuth(readFileSync(new URL(file, example), 'utf8')), of))
    if (proxy === 'nginx') files.set(at('nginx.conf'), nginxMain(name))
  }
  return files
}

/** The auth service of a project stays at the gateway: without the part of nginx's example that leads to it. */
const withoutAuth = (text: string) =>
  text
    .replace(/upstream auth \{[^}]*\}\n\n/, '')
    .replace(/ *# Where users sign in[^\n]*\n *location [^\n]*\n[^}]*\}\n\n/, '')

function address(text: string, { listen, sallyport, service, folder }: Places): string {
  return text
    .replaceAll(/127\.0\.0\.1(:|, port_value: )8080/g, `${listen}$18080`)
    .replaceAll(/127\.0\.0\.1(:|, port_value: )5100/g, `${sallyport}$15100`)
    .replaceAll(/127\.0\.0\.1(:|, port_value: )8081/g, `${service}$15010`)
    .replaceAll('bind 127.0.0.1\n', `bind ${listen}\n`)
    .replaceAll('/etc/nginx/', '')
    .replaceAll('/etc/haproxy/', folder)
}
