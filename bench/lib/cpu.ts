import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'

const ticksPerSecond = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }))

/** Seconds of CPU a process has used so far, in user and kernel mode, its threads included. Linux only. */
export function cpuSeconds(pid: number): number {
  // Behind the name in parentheses, which may hold spaces: field 14 is utime, 15 stime (proc_pid_stat(5)).
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') as string[]
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
}

/** The processes that a process started and that still run. Linux only. */
export function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim().split(' ').filter(Boolean).map(Number)
}

/** Resident memory of a process in bytes, all of it or what no other process shares as it does a program's file. Linux only. */
export function residentBytes(pid: number, counted: 'VmRSS' | 'RssAnon' = 'VmRSS'): number {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1')
  const [, kilobytes] = new RegExp(`${counted}:\\s+(\\d+)`).exec(status) as RegExpExecArray
  return Number(kilobytes) * 1024
}

/** Seconds of CPU of a process's threads that still run, to the microsecond and less; for what takes a few ticks only. */
export function preciseCpuSeconds(pid: number): number {
  const tasks = `/proc/${pid}/task`
  return unlessEnded(() => readdirSync(tasks), []).reduce((sum, task) => {
    // The first field is the time on the CPU in nanoseconds (Documentation/scheduler/sched-stats).
    const [spent] = unlessEnded(() => readFileSync(`${tasks}/${task}/schedstat`, 'latin1'), '0').split(' ')
    return sum + Number(spent) / 1e9
  }, 0)
}

/** What is read of a process or a thread, which may have ended since it was found. */
function unlessEnded<Value>(read: () => Value, otherwise: Value): Value {
  try {
    return read()
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return otherwise
    throw error
  }
}

/** Seconds of CPU of the processes that a process started and that have ended since. */
export function endedCpuSeconds(pid: number): number {
  // Fields 16 and 17, cutime and cstime.
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') as string[]
  return (Number(fields[13]) + Number(fields[14])) / ticksPerSecond
}
