/** By how much of the time that passes two monotonic clocks may drift apart: NTP slews by 500 ppm at most. */
const drift = 0.0005

/**
 * Reads the times of another process's monotonic clock, of which messages tell, on ours. How long a message was under way
 * is not known, so the quickest so far says how the clocks differ, and a message that was kept back is seen to be old.
 * Only as fast as clocks drift can what comes late be taken for what is new.
 *
 * @param before milliseconds by our clock, when the other's said no more than `theirs`
 * @param theirs seconds by the other's clock
 * @returns what turns a time by the other's clock, of which a message tells that comes at `now`, into one of ours
 */
export function followClock(before: number, theirs: number): (theirs: number, now: number) => number {
  let offset = before - theirs * 1000
  let since = before
  return (theirs, now) => {
    offset = Math.min(offset + (now - since) * drift, now - theirs * 1000)
    since = now
    return offset + theirs * 1000
  }
}
