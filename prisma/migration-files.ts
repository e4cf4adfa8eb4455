import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Where the migrations of this version lie, one folder each. */
export const migrationsFolder = fileURLToPath(new URL('../migrations/', import.meta.url))

/** The names of the migrations of this version, in their order. */
export const migrationNames: readonly string[] = readdirSync(migrationsFolder, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name)
  .sort()

export function readMigrationFile(path: string): string {
  return readFileSync(join(migrationsFolder, path), 'utf8')
}
