import fc from 'fast-check'
import t from 'tap'
import { isInstant } from './validation.ts'

t.test('a time is one that Date and Postgres take', async (t) => {
  const good = [
    '2026-11-25T09:00:00Z',
    '2026-11-25T09:00:00.123456789+05:30',
    '2024-02-29T23:59:59-23:59',
    '0001-01-01T00:00:00Z',
    '9999-12-31T23:59:59.999999999Z',
    '0000-12-31T23:59:59-00:01',
  ]
  for (const text of good) t.equal(isInstant(text), true, text)
  for (const text of [
    '',
    'now',
    'infinity',
    '2026-11-25',
    '2026-11-25T09:00Z',
    '2026-11-25T09:00:00',
    '2026-11-25 09:00:00Z',
    '2026-11-25t09:00:00z',
    ' 2026-11-25T09:00:00Z',
    '2026-11-25T09:00:00Z\n',
    '2016-12-31T23:59:60Z',
    '2026-11-25T24:00:00Z',
    '2026-11-25T09:60:00Z',
    '2026-11-25T09:00:00+24:00',
    '2026-11-25T09:00:00+05:60',
    '2026-11-25T09:00:00+0530',
    '2025-02-29T09:00:00Z',
    '2026-02-30T09:00:00Z',
    '2026-13-01T09:00:00Z',
    '2026-00-01T09:00:00Z',
    '2026-01-00T09:00:00Z',
    '0000-01-01T00:00:00Z',
    '0001-01-01T00:00:00+00:01',
    '9999-12-31T23:59:59-00:01',
    '10000-01-01T00:00:00Z',
    '+010000-01-01T00:00:00Z',
    '-000001-01-01T00:00:00Z',
    '2026-11-25T09:00:00Z BC',
    '２０２６-11-25T09:00:00Z',
  ])
    t.equal(isInstant(text), false, JSON.stringify(text))
})

t.test('every time that Date writes in these years is one', async () => {
  const years = {
    min: new Date('0001-01-01T00:00:00Z'),
    max: new Date('9999-12-31T23:59:59.999Z'),
    noInvalidDate: true,
  }
  fc.assert(fc.property(fc.date(years), (date) => isInstant(date.toISOString())))
})
