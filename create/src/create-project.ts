import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { manifestFor, useTarballs } from './manifest.ts'
import type { Choices } from './options.ts'
import { proxyFiles, proxyService } from './proxies.ts'
import { fileName, render } from './template.ts'

const template = fileURLToPath(new URL('../template', import.meta.url))

/**
 * Makes a project in a folder that is not there, or empty. If that fails, nothing is left of it.
 *
 * @param ask says what it is to have, once it is known that it can be made
 * @param packages a folder with the tarballs of a release, in the place of the registry
 * @throws Error with a line that says what to correct
 */
export async function createProject(folder: string, ask: () => Promise<Choices>, packages?: string): Promise<void> {
  const name = basename(folder)
  if (!/^[a-z][a-z0-9-]{0,62}$/.test(name))
    throw new Error(
      `${JSON.stringify(name)} cannot be the name of a project; it takes a-z, 0-9 and -, and begins with a letter`,
    )
  if (existsSync(folder) && readdirSync(folder).length > 0) throw new Error(`${folder} is there already, and not empty`)
  const choices = await ask()
  const made = mkdirSync(folder, { recursive: true })
  const making = mkdtempSync(join(folder, '.making-'))
  try {
    for (const [path, text] of filesOf(name, choices, packages !== undefined)) {
      mkdirSync(dirname(join(making, path)), { recursive: true })
      // Who else is on the machine does not read the password of the database.
      writeFileSync(join(making, path), text, { mode: path === '.env' ? 0o600 : 0o644 })
    }
    const manifest = manifestFor(name, choices)
    mkdirSync(join(making, 'packages'))
    if (packages === undefined) writeFileSync(join(making, 'packages/.gitkeep'), '')
    else for (const [file, path] of useTarballs(manifest, packages)) copyFileSync(path, join(making, 'packages', file))
    writeFileSync(join(making, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`)
    // Not the folder itself, as a shell may be in it.
    for (const file of readdirSync(making)) renameSync(join(making, file), join(folder, file))
    rmdirSync(making)
  } catch (error) {
    rmSync(made ?? making, { recursive: true, force: true })
    throw error
  }
}

/** The text of every file by its path. */
function filesOf(name: string, choices: Choices, packages: boolean): Map<string, string> {
  const { issuer, audience, database, proxy } = choices
  const holds = {
    own: issuer === 'own',
    issuer: issuer !== 'own',
    local: issuer === 'own' && database === 'local',
    url: issuer === 'own' && database !== 'local',
    proxy: proxy !== 'none',
    direct: proxy === 'none',
    packages,
  }
  const values = {
    name,
    issuer,
    audience,
    database,
    proxy,
    page: proxy === 'none' ? 'http://localhost:5000' : 'http://localhost:8080',
    signIn: issuer === 'own' ? 'auth' : 'issuers',
    gateway: proxy === 'none' ? '/' : 'http://localhost:5000',
    ...(proxy !== 'none' && proxyService(proxy)),
  }
  const files = new Map<string, string>()
  for (const entry of readdirSync(template, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const file = join(entry.parentPath, entry.name)
    const path = fileName(file.slice(template.length + 1), holds)
    if (path !== undefined) files.set(path, render(readFileSync(file, 'utf8'), holds, values))
  }
  if (holds.url) files.set('.env', `DATABASE_URL=${database}\n`)
  if (proxy !== 'none') for (const [path, text] of proxyFiles(proxy, name)) files.set(path, text)
  return files
}
