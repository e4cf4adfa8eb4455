import '@sallyport/chassis/node-version'
import { manageKeys } from './manage-keys.ts'

process.exitCode = manageKeys(
  process.argv.slice(2),
  process.env,
  (line) => process.stdout.write(`${line}\n`),
  (line) => process.stderr.write(`sallyport keys: ${line}\n`),
)
