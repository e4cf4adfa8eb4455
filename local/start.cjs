// What `npm start` runs: plain JavaScript, since the rest may not be compiled yet. In one process, which npm knows.
require('../packages/chassis/node-version.cjs')

/* c8 ignore start: tests do not build what other tests run; .ci/readme.mjs does all of it in a clone of its own */
const { spawn } = require('node:child_process')
const { join } = require('node:path')

// It ends with us: see tied.sh.
const build = ['npm', 'run', '--silent', 'build']
const [program, ...args] = process.platform === 'win32' ? build : ['sh', join(__dirname, 'tied.sh'), ...build]
const building = spawn(program, args, {
  cwd: join(__dirname, '..'),
  detached: process.platform !== 'win32',
  shell: process.platform === 'win32',
  stdio: ['ignore', 'inherit', 'inherit', 'pipe'],
}).once('exit', (code) => {
  building.stdio[3].end('ended\n')
  if (code !== 0) process.exit(1)
  import('./dist/start.js')
})
// The shell at the other end may be gone already.
building.stdio[3].on('error', () => {})
/* c8 ignore stop */
