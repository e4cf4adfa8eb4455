import '@sallyport/chassis/node-version'
import { buildBreached } from './build-breached.ts'

process.exitCode = await buildBreached(
  process.argv.slice(2),
  (line) => process.stdout.write(`${line}\n`),
  (line) => process.stderr.write(`sallyport breached: ${line}\n`),
)
