import { attempt } from './platform.ts'

/**
 * Time for deadlines, in milliseconds since 1970, as one tab counts it. It never goes back. Compare deadlines with
 * `now()` alone; what leaves the tab (storage, other tabs, the app) is said by the machine's clock.
 */
export interface Clock {
  now(): number
  /** By how much the machine's clock has been put back since the tab was opened. */
  readonly putBack: number
  /** What the machine's clock will show, or showed, at a time of this clock. */
  toMachine(time: number): number
  fromMachine(time: number): number
}

/** How far the machine's clock may part from the steady one by being slewed or rounded, in milliseconds. */
const tolerance = 500

/**
 * Neither clock of a browser does by itself. The machine's (`Date`) is put right while we count by it: put back by five
 * hours, it would have a token hold for five hours more. The steady one (`performance`) stands still in most browsers
 * while the machine sleeps, so that a token would outlive the night. The earlier of two deadlines, one by each, does not
 * do either: after a clock was put back and the machine slept, both are too late. So the two are held against each other
 * at each look: time goes on by the steady clock, and by as much more as the machine's went ahead of it. That was a
 * sleep or a correction; which of them cannot be told, and taking a correction for a sleep costs one refresh.
 */
export function createClock(): Clock {
  const readDifference = () => Date.now() - steady()
  let seen = readDifference()
  let ahead = seen
  let putBack = 0

  const clock: Clock = {
    now,
    get putBack() {
      now()
      return putBack
    },
    toMachine: (time) => time - clock.putBack,
    fromMachine: (time) => time + clock.putBack,
  }
  return clock

  function now(): number {
    const jump = readDifference() - seen
    if (Math.abs(jump) > tolerance) {
      seen += jump
      if (jump > 0) ahead += jump
      else putBack -= jump
    }
    return Math.round(steady() + ahead)
  }
}

/** Stands still where there is none, and the machine's clock is then what counts. */
const steady = () => attempt(() => performance.now()) ?? 0
