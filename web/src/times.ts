const time = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' })
const timeWithSeconds = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' })
const day = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' })
const dayWithYear = new Intl.DateTimeFormat(undefined, {
  weekday: 'long',
  day: 'numeric',
  month: 'long',
  year: 'numeric',
})
const date = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', year: 'numeric' })
const dateAndTime = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' })
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'long' })
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto' })

export const formatTime = (when: string) => time.format(new Date(when))
export const formatSeconds = (when: number) => timeWithSeconds.format(when)
export const formatDate = (when: string) => date.format(new Date(when))
/** With seconds and the time zone. */
export const formatExact = (when: string) => exact.format(new Date(when))
export const formatMoment = (when: string | number) => dateAndTime.format(new Date(when))

/** Such as "Tomorrow, Tuesday 24 November". */
export function formatDay(when: string): string {
  const then = new Date(when)
  const days = daysFromToday(then)
  const name = (then.getFullYear() === new Date().getFullYear() ? day : dayWithYear).format(then)
  const near = { '-1': 'Yesterday', 0: 'Today', 1: 'Tomorrow' }[String(days)]
  return near ? `${near}, ${name}` : name
}

/** Such as "5 minutes ago". */
export function formatAgo(when: string): string {
  const seconds = (Date.parse(when) - Date.now()) / 1000
  const units: [Intl.RelativeTimeFormatUnit, number][] = [
    ['day', 86_400],
    ['hour', 3_600],
    ['minute', 60],
  ]
  for (const [unit, size] of units)
    if (Math.abs(seconds) >= size) return relative.format(Math.round(seconds / size), unit)
  return 'just now'
}

/** Such as "14:05" of minutes and seconds. */
export function formatSpan(milliseconds: number): string {
  const seconds = Math.max(0, Math.ceil(milliseconds / 1000))
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`
}

export const isSameDay = (one: string, other: string) => new Date(one).toDateString() === new Date(other).toDateString()

/** As an input of type datetime-local takes it: local time without a zone. */
export function toInput(when: Date): string {
  const local = new Date(when.getTime() - when.getTimezoneOffset() * 60_000)
  return local.toISOString().slice(0, 16)
}

function daysFromToday(then: Date): number {
  const midnight = (at: Date) => new Date(at.getFullYear(), at.getMonth(), at.getDate()).getTime()
  return Math.round((midnight(then) - midnight(new Date())) / 86_400_000)
}
