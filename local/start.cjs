// What `npm start` runs: plain JavaScript, since the rest may not be compiled yet. In one process, which npm knows.
require('../packages/chassis/node-version.cjs')
const { spawn } = require('node:child_process')
const { join } = require('node:path')

// It ends with us: see tied.sh.
const build = ['npm', 'run', '--silent', 'build']
const [program, ...args] = process.platform === 'win32' ? build : ['sh', join(__dirname, 'tied.sh'), ...build]
spawn(program, args, {
  cwd: join(__dirname, '..'),
  detached: process.platform !== 'win32',
  shell: process.platform === 'win32',
  stdio: ['ignore', 'inherit', 'inherit', 'pipe'],
}).once('exit', function (code) {
  this.stdio[3].end('ended\n')
  if (code !== 0) process.exit(1)
  import('./dist/start.js')
})
