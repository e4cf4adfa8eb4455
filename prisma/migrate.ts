import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { PrismaPg } from '@prisma/adapter-pg'
import { bindMigrationAwareSqlAdapterFactory } from '@prisma/driver-adapter-utils'
import * as engine from '@prisma/schema-engine-wasm/schema_engine_bg'
import { readSettings, text } from '@sallyport/chassis'
import pg from 'pg'
import { explain } from './database.ts'

const migrations = fileURLToPath(new URL('../migrations/', import.meta.url))

/** Any number will do, as long as every process that migrates uses the same. */
const migrationLock = 5_001_7259

/**
 * Brings a database to the schema of this version with Prisma's own engine (its wasm build, so that no binary is
 * needed), and records it as Prisma does. Migrating twice changes nothing; two at once wait for each other.
 *
 * @returns the names of the migrations that were applied now
 */
export async function migrate(url: string): Promise<string[]> {
  const guard = new pg.Client({ connectionString: url })
  await guard.connect().catch((error) => {
    throw explain(error)
  })
  try {
    await guard.query('SELECT pg_advisory_lock($1)', [migrationLock])
    const { appliedMigrationNames } = await (await startEngine(url)).applyMigrations({
      migrationsList: readMigrations(),
      filters: { externalTables: [], externalEnums: [] },
    })
    return appliedMigrationNames
  } finally {
    await guard.end()
  }
}

async function startEngine(url: string): Promise<engine.SchemaEngine> {
  loading ??= loadEngine()
  await loading
  const adapter = bindMigrationAwareSqlAdapterFactory(new PrismaPg({ connectionString: url }))
  return engine.SchemaEngine.new({ datamodels: undefined }, () => {}, adapter)
}

/** The bindings hold the state of one instance, so a process loads it once. */
let loading: Promise<void> | undefined

/** The package imports its wasm as a module, which Node 20 cannot; these are the same steps by hand. */
async function loadEngine(): Promise<void> {
  const folder = dirname(createRequire(import.meta.url).resolve('@prisma/schema-engine-wasm'))
  const { instance } = await WebAssembly.instantiate(readFileSync(join(folder, 'schema_engine_bg.wasm')), {
    './schema_engine_bg.js': engine as unknown as WebAssembly.ModuleImports,
  })
  engine.__wbg_set_wasm(instance.exports)
  ;(instance.exports.__wbindgen_start as () => void)()
}

function readMigrations() {
  const directories = readdirSync(migrations, { withFileTypes: true }).filter((entry) => entry.isDirectory())
  return {
    baseDir: migrations,
    lockfile: { path: 'migration_lock.toml', content: readFileSync(join(migrations, 'migration_lock.toml'), 'utf8') },
    shadowDbInitScript: '',
    migrationDirectories: directories
      .map(({ name }) => name)
      .sort()
      .map((path) => ({
        path,
        migrationFile: {
          path: 'migration.sql',
          content: { tag: 'ok' as const, value: readFileSync(join(migrations, path, 'migration.sql'), 'utf8') },
        },
      })),
  }
}

if (process.argv[1] === import.meta.filename) {
  try {
    const { DATABASE_URL } = readSettings(process.env, {
      DATABASE_URL: text({ desc: 'postgresql://user:password@host:5432/database' }),
    })
    const applied = await migrate(DATABASE_URL)
    process.stdout.write(applied.length === 0 ? 'The database is up to date.\n' : `Applied ${applied.join(', ')}.\n`)
  } catch (error) {
    process.stderr.write(`sallyport migrate: ${(error as Error).message}\n`)
    process.exit(1)
  }
}
