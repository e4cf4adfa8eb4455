import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { openMachines } from '../support/machines.ts'
import { freePort } from '../support/system.ts'

/** The Python of the system, which has what apt installs. */
const python = '/usr/bin/python3'
const isThere = spawnSync(python, ['-c', 'import authlib, requests']).status === 0
const skip = isThere ? false : 'python3-authlib and python3-requests are not installed'
const program = new URL('../../operations/authlib_client.py', import.meta.url).pathname

t.test("Python's Authlib, which nobody here wrote, finds all by the issuer alone", { skip }, async (t) => {
  const port = await freePort()
  const issuer = `http://127.0.0.1:${port}`
  const { makeMachine } = await openMachines(t, { GATEWAY_PORT: String(port), JWT_ISSUER: issuer })
  const { id, secret, key } = await makeMachine({ scopes: ['a', 'b'] })
  // The gateway is in this process: it has to go on meanwhile.
  const child = spawn(python, [program], { env: { ...process.env, AUTHLIB_INSECURE_TRANSPORT: '1' } })
  child.stdin.end(JSON.stringify({ issuer, id, secret, privateKey: key.privateKey }))
  const [output, errors, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
  t.equal(code, 0, errors)
  t.strictSame(output.trim().split('\n'), ['client_secret_basic', 'private_key_jwt'])
})
