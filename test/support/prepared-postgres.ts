import { createHash } from 'node:crypto'
import {
  chmodSync,
  constants,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { seed } from '@sallyport/database'
import { type DatabaseUrls, freePort, prepareOwnDatabase, startPostgres } from '@sallyport/local'

export const root = fileURLToPath(new URL('../../..', import.meta.url))
const cache = join(root, 'node_modules/.cache/sallyport')

/** What a prepared database is made from: if it changes, another one is made. */
export function digestOfSources(): string {
  const hash = createHash('sha256').update(readFileSync(join(root, 'package-lock.json')))
  for (const folder of ['prisma/dist', 'local/dist', 'prisma/migrations'])
    for (const name of (readdirSync(join(root, folder), { recursive: true }) as string[]).sort())
      if (/\.(js|sql)$/.test(name)) hash.update(readFileSync(join(root, folder, name)))
  return hash.digest('hex').slice(0, 16)
}

/**
 * Puts the files of a PostgreSQL into an empty folder, for startPostgres: migrated, with the demo users. Making them
 * takes seconds and copying them does not, so the first test that needs them makes them for all.
 *
 * @returns the addresses that the services sign in with, but for their port
 */
export async function copyPreparedPostgres(folder: string): Promise<DatabaseUrls> {
  const prepared = join(cache, digestOfSources())
  if (!existsSync(prepared)) await prepare(prepared)
  cpSync(prepared, folder, { recursive: true, mode: constants.COPYFILE_FICLONE })
  // PostgreSQL insists on it, and newer versions of Node copy a folder without its mode.
  chmodSync(join(folder, 'postgres'), 0o700)
  return JSON.parse(readFileSync(join(folder, 'urls.json'), 'utf8'))
}

async function prepare(prepared: string): Promise<void> {
  mkdirSync(cache, { recursive: true })
  const making = mkdtempSync(join(cache, 'making-'))
  const postgres = await startPostgres({ folder: making, port: await freePort(), settings: ['fsync=off'] })
  writeFileSync(join(making, 'urls.json'), JSON.stringify(await prepareOwnDatabase(postgres.url, seed)))
  await postgres.stop()
  try {
    renameSync(making, prepared)
  } catch (error) {
    // Another test was first.
    if (!existsSync(prepared)) throw error
    rmSync(making, { recursive: true })
  }
}
