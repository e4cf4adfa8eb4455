// What npm runs in the folder of a package before it packs it: the code is compiled, and the licence, which stands once in
// the repository, lies beside it.
import { execFileSync } from 'node:child_process'
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..')
execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '--build'], { stdio: 'inherit' })
copyFileSync(join(root, 'LICENSE'), 'LICENSE')
