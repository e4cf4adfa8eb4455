import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

/** The cores that this process may run on. Linux only. */
export function ownCores(): number[] {
  const [, list] = /^Cpus_allowed_list:\s+(\S+)$/m.exec(readFileSync('/proc/self/status', 'latin1')) as RegExpExecArray
  return (list as string).split(',').flatMap((range) => {
    const [from, to = from] = range.split('-').map(Number) as [number, number?]
    return Array.from({ length: to - from + 1 }, (_, index) => from + index)
  })
}

/** Every thread of a process, of this one unless another is named, runs on these cores alone from now on, and what it starts. */
export function useCores(cores: number[], pid = process.pid): void {
  execFileSync('taskset', ['--all-tasks', '--cpu-list', '--pid', cores.join(','), String(pid)])
}

/** What is started meanwhile stays on these cores, and we come back to ours. */
export async function onCores<Started>(cores: number[], start: () => Promise<Started>): Promise<Started> {
  const before = ownCores()
  useCores(cores)
  try {
    return await start()
  } finally {
    useCores(before)
  }
}
