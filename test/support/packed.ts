import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import type { Test } from 'tap'

const { pack, packagesToRelease } = await import(new URL('../../../.ci/release.mjs', import.meta.url).href)

interface Manifest {
  name: string
  version: string
  dependencies?: Record<string, string>
  peerDependencies?: Record<string, string>
}

/** A project of somebody who has of Sallyport what can be installed, and nothing else. */
export interface Project {
  folder: string
  write(path: string, text: string): void
  /**
   * Runs `node`, or a program of what is installed, in the project.
   *
   * @returns what it printed
   * @throws Error with that, if it fails
   */
  run(command: readonly string[]): Promise<string>
  /**
   * Starts what goes on, until the test ends.
   *
   * @returns once its output holds a text
   * @throws Error with the output, if it ends before
   */
  start(until: string, command: readonly string[], environment?: Record<string, string | undefined>): Promise<void>
}

let packed: Promise<Map<string, Manifest & { tarball: string }>> | undefined

/** Every package that is released, packed as it would be published: once for a process. */
export function packedPackages() {
  packed ??= packAll()
  return packed
}

async function packAll(): Promise<Map<string, Manifest & { tarball: string }>> {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-packed-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  const manifests: Manifest[] = packagesToRelease()
  const files: string[] = pack(
    manifests.map(({ name }) => name),
    folder,
  )
  return new Map(manifests.map((each, at) => [each.name, { ...each, tarball: join(folder, files[at] as string) }]))
}

/**
 * Installs packages into an empty project.
 *
 * @param ours names such as `@sallyport/client`; what they need of ours comes with them
 * @param others versions of packages from the registry, by name
 */
export async function installPacked(
  t: Test,
  ours: readonly string[],
  others: Record<string, string> = {},
): Promise<Project> {
  const packages = await packedPackages()
  const dependencies = { ...others }
  const add = (name: string) => {
    const { tarball, dependencies: needed, peerDependencies } = packages.get(name) as Manifest & { tarball: string }
    dependencies[name] = `file:${tarball}`
    // Those of this version are in no registry yet.
    for (const other of Object.keys({ ...needed, ...peerDependencies })) if (packages.has(other)) add(other)
  }
  for (const name of ours) add(name)
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-project-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const project: Project = {
    folder,
    write(path, text) {
      mkdirSync(dirname(join(folder, path)), { recursive: true })
      writeFileSync(join(folder, path), text)
    },
    run: (command) => run(folder, command),
    start: (until, command, environment = {}) => start(t, folder, until, command, environment),
  }
  const allowScripts = { argon2: true, bun: true, deno: true, workerd: true }
  project.write('package.json', JSON.stringify({ type: 'module', private: true, dependencies, allowScripts }))
  await project.run(['npm', 'install', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error'])
  return project
}

/** Milliseconds for what a project runs: an installation may have to fetch every package. */
const timeout = 240_000

/** As from a shell of one's own: without what tap, and npm that runs it, add to the environment of what tests start. */
const clean = (command: readonly string[]) => ['env', ['-u', 'NODE_OPTIONS', ...command]] as const

const environmentOf = (folder: string) => ({
  ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_/i.test(name))),
  PATH: `${join(folder, 'node_modules/.bin')}:${process.env.PATH}`,
  NO_COLOR: '1',
})

/** Runs a command in a folder, as from a shell. @returns what it printed */
export async function run(cwd: string, command: readonly string[]): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(...clean(command), { cwd, env: environmentOf(cwd), timeout })
    return stdout
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string }
    throw new Error(`${command.join(' ')}:\n${stdout}${stderr}`)
  }
}

/** Starts what goes on in a folder, once its output holds a text, until the test ends. */
export async function start(
  t: Test,
  cwd: string,
  until: string,
  command: readonly string[],
  environment: Record<string, string | undefined>,
): Promise<void> {
  const child = spawn(...clean(command), { cwd, env: { ...environmentOf(cwd), ...environment } })
  const ended = once(child, 'exit')
  t.teardown(async () => {
    child.kill()
    await ended
  })
  let output = ''
  const heard = new Promise<true>((resolve) => {
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk) => {
        output += chunk
        if (output.includes(until)) resolve(true)
      })
  })
  if ((await Promise.race([heard, ended])) !== true) throw new Error(`${command.join(' ')}:\n${output}`)
}
