import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { readExample } from '@sallyport/bench/proxies'
import { freePort } from '@sallyport/local'
import pg from 'pg'

/** What Patroni says of a member of its cluster. */
interface Member {
  name: string
  role: string
  state: string
  lag?: number | string
}

interface Node {
  name: string
  postgres: number
  api: number
  folder: string
  patroni?: ChildProcess
}

/** PostgreSQL does not run as root: a user namespace shows it another user, while files stay root's own. */
const unprivileged = process.getuid?.() === 0 ? ['unshare', '--user', '--map-user=1000', '--map-group=1000'] : []

const password = 'of-this-run-alone'

/**
 * Three PostgreSQL that Patroni keeps, with etcd, and HAProxy in front: by the files of examples/patroni, with other
 * addresses in the place of those in them.
 */
export async function startPatroni(isSynchronous: boolean, maximumLag: string) {
  const root = mkdtempSync(join(tmpdir(), 'sallyport-patroni-'))
  const log = openSync(join(root, 'log'), 'a')
  const start = (...command: string[]) => {
    const [program, ...args] = [...unprivileged, ...command]
    return spawn(program as string, args, { stdio: ['ignore', log, log], env: { ...process.env, HOME: root } })
  }
  const nodes: Node[] = await Promise.all(
    ['one', 'two', 'three'].map(async (name) => {
      const folder = join(root, name)
      mkdirSync(folder, { mode: 0o700 })
      return { name, folder, postgres: await freePort(), api: await freePort() }
    }),
  )
  const [etcdPort, peerPort, port] = await Promise.all([freePort(), freePort(), freePort()])
  const [etcdUrl, peerUrl] = [`http://127.0.0.1:${etcdPort}`, `http://127.0.0.1:${peerPort}`]
  const others = [
    start(
      ...['etcd', '--name=one', `--data-dir=${join(root, 'etcd')}`, `--initial-cluster=one=${peerUrl}`],
      ...[`--listen-client-urls=${etcdUrl}`, `--advertise-client-urls=${etcdUrl}`],
      ...[`--listen-peer-urls=${peerUrl}`, `--initial-advertise-peer-urls=${peerUrl}`],
    ),
  ]

  /** Its addresses as they are in the examples, and here. */
  const place = (text: string) =>
    nodes.reduce(
      (placed, { postgres, api }, index) =>
        placed
          .replaceAll(`10.0.0.${index + 1}:5432`, `127.0.0.1:${postgres}`)
          .replaceAll(`10.0.0.${index + 1}:8008`, `127.0.0.1:${api}`),
      text,
    )
  const haproxy = join(root, 'haproxy.cfg')
  const checks = place(readExample('patroni/haproxy.cfg').replaceAll('10.0.0.9:5432', `127.0.0.1:${port}`))
    .replace('check port 8008', 'check')
    .replaceAll(
      /^ {4}server (\w+) .*$/gm,
      (line, name) => `${line} port ${nodes.find((node) => node.name === name)?.api}`,
    )
  writeFileSync(haproxy, checks)
  others.push(start('haproxy', '-db', '-f', haproxy))

  function startNode(node: Node): void {
    const { name, folder, postgres, api } = node
    const file = join(folder, 'patroni.yml')
    const settings = readExample('patroni/patroni.yml')
      .replaceAll('10.0.0.1:8008', `127.0.0.1:${api}`)
      .replaceAll('10.0.0.1:5432', `127.0.0.1:${postgres}`)
      .replaceAll('10.0.0.4:2379', `127.0.0.1:${etcdPort}`)
      .replaceAll('/var/lib/postgresql/15/sallyport', join(folder, 'data'))
      .replaceAll('/var/lib/postgresql', folder)
      .replaceAll('replace-this', password)
      .replace('name: one', `name: ${name}`)
      .replace('synchronous_mode: true', `synchronous_mode: ${isSynchronous}`)
      .replace(/(?<=maximum_lag_on_failover: )\d+/, maximumLag)
      // A machine that goes down loses what was not written; here only processes do.
      .replace(/^( +)max_connections: .*$/m, `$&\n$1fsync: off\n$1unix_socket_directories: ${folder}`)
    writeFileSync(file, settings)
    node.patroni = start('patroni', file)
  }
  for (const node of nodes) startNode(node)

  async function members(): Promise<Member[]> {
    for (const { api } of nodes)
      try {
        return (await (await fetch(`http://127.0.0.1:${api}/cluster`)).json()).members
      } catch {
        // This one is down.
      }
    return []
  }
  async function isWhole(): Promise<boolean> {
    const all = await members()
    const serving = all.filter(({ state, lag }) => ['running', 'streaming'].includes(state) && !lag)
    const roles = new Set(serving.map(({ role }) => role))
    return serving.length === nodes.length && roles.has('leader') && (!isSynchronous || roles.has('sync_standby'))
  }
  /** Until there is one primary, and two standbys that have all of it. */
  async function whole(): Promise<void> {
    for (const deadline = Date.now() + 180_000; !(await isWhole()); await sleep(200))
      if (Date.now() > deadline)
        throw new Error(`no cluster of three: ${JSON.stringify(await members())}, see ${root}/log`)
  }
  async function primary(): Promise<Node> {
    const leader = (await members()).find(({ role }) => role === 'leader')
    return nodes.find(({ name }) => name === leader?.name) as Node
  }
  await whole()
  const url = `postgresql://postgres:${encodeURIComponent(password)}@127.0.0.1:${port}/sallyport`
  const owner = new pg.Client({ connectionString: url.replace(/sallyport$/, 'postgres') })
  await owner.connect()
  await owner.query('CREATE DATABASE sallyport')
  await owner.end()

  return {
    /** As the owner, at HAProxy. */
    url,
    whole,
    primary,
    startNode,
    /** Ends a machine as a power cut does: Patroni, PostgreSQL and all of its processes. */
    kill({ patroni, folder }: Node): void {
      const all = [patroni?.pid as number, ...processesOf(folder)]
      for (const pid of all) end(pid)
    },
    /** Standbys get nothing from this primary any more. @returns after so many milliseconds, how many bytes they are behind */
    async fallBehind({ folder, postgres }: Node, milliseconds: number): Promise<number> {
      for (const pid of processesOf(folder)) if (/walsender/.test(commandOf(pid))) process.kill(pid, 'SIGSTOP')
      await sleep(milliseconds)
      const primary = new pg.Client({ connectionString: Object.assign(new URL(url), { port: postgres }).toString() })
      await primary.connect()
      const { rows } = await primary.query(
        'SELECT min(pg_current_wal_lsn() - flush_lsn)::float8 AS bytes FROM pg_stat_replication',
      )
      await primary.end()
      return rows[0].bytes
    },
    async stop(): Promise<void> {
      for (const { patroni, folder } of nodes)
        for (const pid of [patroni?.pid as number, ...processesOf(folder)]) end(pid)
      for (const child of others) child.kill('SIGKILL')
      await Promise.all([...others, ...nodes.map(({ patroni }) => patroni)].map((child) => child && ended(child)))
      rmSync(root, { recursive: true, force: true, maxRetries: 20 })
    },
  }
}

const ended = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null || once(child, 'exit')

/** The server in a folder, and its processes. */
function processesOf(folder: string): number[] {
  try {
    const server = Number.parseInt(readFileSync(join(folder, 'data/postmaster.pid'), 'utf8'), 10)
    const children = readFileSync(`/proc/${server}/task/${server}/children`, 'utf8').trim()
    return [server, ...children.split(' ').filter(Boolean).map(Number)]
  } catch {
    return []
  }
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
  } catch {
    return ''
  }
}

function end(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended.
  }
}
