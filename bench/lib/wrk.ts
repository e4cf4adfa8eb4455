import { execFile } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Contestant } from './contestants.ts'
import { cpuSeconds } from './cpu.ts'
import type { FarClient } from './far-client.ts'

const run = promisify(execFile)

/** A script for wrk that asks for a path with one token after the other, and with more headers. */
export function askingFor(path: string, tokens: string[], headers: Record<string, string> = {}): string {
  const script = join(mkdtempSync(join(tmpdir(), 'sallyport-bench-')), 'tokens.lua')
  const more = Object.entries(headers).map(([name, value]) => `[${JSON.stringify(name)}]=${JSON.stringify(value)}`)
  writeFileSync(
    script,
    `local tokens = {${tokens.map((token) => `"Bearer ${token}"`)}}
local at = 0
request = function()
  at = at % #tokens + 1
  return wrk.format("GET", "${path}", { ${['authorization = tokens[at]', ...more].join(', ')} })
end`,
  )
  return script
}

/**
 * Sends a gateway as many requests as it serves on 50 connections.
 *
 * @param from another machine, if it is to be one
 *
 * @returns CPU time of its processes for each request, in microseconds
 */
export async function costOf(
  { name, port, pids }: Contestant,
  script: string,
  seconds: number,
  from?: FarClient,
): Promise<number> {
  const used = () => pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0)
  const before = used()
  const wrk = ['wrk', '-t1', '-c50', `-d${seconds}s`, '-s', script, `http://${from?.address ?? '127.0.0.1'}:${port}`]
  const [program, ...args] = [...(from?.prefix ?? []), ...wrk]
  const { stdout } = await run(program as string, args)
  const spent = used() - before
  if (/Non-2xx|Socket errors/.test(stdout)) throw new Error(`${name}: ${stdout}`)
  return (spent / Number(/(\d+) requests in/.exec(stdout)?.[1])) * 1e6
}
