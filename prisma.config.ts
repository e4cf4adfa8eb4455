import { defineConfig } from 'prisma/config'

// `prisma generate` would download a schema engine that it does not use: naming any executable here
// keeps `npm ci` to the registry alone. Migrations run by prisma/migrate.ts, on Prisma's own wasm engine.
process.env.PRISMA_SCHEMA_ENGINE_BINARY ??= process.execPath

export default defineConfig({ schema: 'prisma/schema.prisma' })
