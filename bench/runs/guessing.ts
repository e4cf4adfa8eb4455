import { demoPassword } from '@sallyport/database'
import { Device } from '../lib/device.ts'
import { type Login, startTargets, type Target } from '../lib/guessing-targets.ts'

/**
 * One account under attack: 10,000 client addresses guess its password once each, so that no limit per client meets
 * them. How many of the guesses were compared with the password, whether the owner gets in meanwhile and afterwards, and
 * whether other people do, here and with better-auth (bench/baselines/auth/better-auth-guessing.js says how it is set
 * up), one after the other on one PostgreSQL.
 *
 *   npm run bench:guessing               (-- 1000 guesses a thousand times)
 */
const guesses = Number(process.argv[2] ?? 10_000)
const atOnce = 4
/** Logins of other people in the time of the attack. */
const otherLogins = Math.min(100, guesses)

const owner = 'owner@example.net'
const others = Array.from({ length: 20 }, (_, index) => `other${index}@example.net`)
const chosen = ['another battery of 7 horses', 'yet another battery of 9 horses']

let devices = 0
/** Somebody's, at an address of its own. */
const newDevice = () => {
  devices += 1
  return new Device(`198.51.${100 + (devices >> 8)}.${devices & 255}`)
}
const attackerAt = (index: number) => new Device(`10.${(index >> 16) & 255}.${(index >> 8) & 255}.${index & 255}`)
const yes = (is: boolean) => (is ? 'yes' : 'no')

type Row = [what: string, outcome: string]

async function attack(target: Target): Promise<Row[]> {
  const outcomes: Record<Login, number> = { in: 0, limited: 0, refused: 0 }
  const otherOutcomes: Login[] = []
  const known = newDevice()
  const theirDevices = others.map(() => newDevice())
  if ((await target.logIn(known, owner, demoPassword)) !== 'in') throw new Error(`${target.name}: nobody gets in`)

  // What happens in the course of the attack, when that many guesses were made.
  let sent = 0
  const waiting: { at: number; begin: () => void }[] = []
  const reached = (share: number) =>
    new Promise<void>((resolve) => {
      const at = Math.floor(share * guesses)
      if (sent > at) resolve()
      else waiting.push({ at, begin: resolve })
    })
  const during = (async () => {
    await reached(0.25)
    const staysSignedIn = await target.isSignedIn(known)
    const fromKnown = await target.logIn(known, owner, demoPassword)
    await reached(0.5)
    const fromNew = await target.logIn(newDevice(), owner, demoPassword)
    await reached(0.75)
    const mailed = newDevice()
    const byMail =
      (await target.resetByMail(mailed, owner, chosen[0] as string)) &&
      (await target.logIn(mailed, owner, chosen[0] as string)) === 'in'
    if (sent >= guesses) throw new Error('the attack was over before the owner was in: it takes more guesses')
    return { staysSignedIn, fromKnown, fromNew, byMail, mailed }
  })()
  const beside = Promise.all(
    Array.from({ length: otherLogins }, async (_, turn) => {
      await reached((turn + 0.5) / otherLogins)
      const index = turn % others.length
      otherOutcomes.push(await target.logIn(theirDevices[index] as Device, others[index] as string, demoPassword))
    }),
  )
  const began = performance.now()
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      while (sent < guesses) {
        const turn = sent++
        for (const { begin } of waiting.filter(({ at }) => at <= turn)) begin()
        outcomes[await target.logIn(attackerAt(turn + 1), owner, `guess number ${turn} of many`)] += 1
      }
    }),
  )
  const minutes = (performance.now() - began) / 60_000
  const [{ staysSignedIn, fromKnown, fromNew, byMail, mailed }] = await Promise.all([during, beside])
  const evaluated = await target.evaluated(owner)
  if (evaluated === 0) throw new Error(`${target.name}: no guess was counted`)

  // Now it is over. Who was let in by mail has a device that signed in before.
  const afterKnown = await target.logIn(mailed, owner, chosen[0] as string)
  const afterNew = await target.logIn(newDevice(), owner, chosen[0] as string)
  const last = newDevice()
  const afterMail =
    (await target.resetByMail(last, owner, chosen[1] as string)) &&
    (await target.logIn(last, owner, chosen[1] as string)) === 'in'

  const refused = otherOutcomes.filter((outcome) => outcome !== 'in').length
  const both = (now: boolean, later: boolean) => `${yes(now)}, ${yes(later)}`
  return [
    ['guesses, each from an address of its own', String(guesses)],
    ['minutes that they took', minutes.toFixed(1)],
    ['refused by limits per client', String(outcomes.limited)],
    ['guesses that were compared with the password', String(evaluated)],
    ['the owner stays signed in', yes(staysSignedIn)],
    [
      'the owner gets in, from a device that signed in before: during, after',
      both(fromKnown === 'in', afterKnown === 'in'),
    ],
    ['whoever has the password gets in, from a new device: during, after', both(fromNew === 'in', afterNew === 'in')],
    ['the owner gets in, by mail: during, after', both(byMail, afterMail)],
    ['logins of other people that were refused', `${refused} of ${otherOutcomes.length}`],
  ]
}

const print = (text: string) => process.stdout.write(`${text}\n`)
const { targets, stop } = await startTargets([owner, ...others])
const columns: Row[][] = []
for (const target of targets) columns.push(await attack(target))
await stop()
print(`| | ${targets.map(({ name }) => name).join(' | ')} |\n| --- | ${targets.map(() => '---:').join(' | ')} |`)
for (const [at, [what]] of (columns[0] as Row[]).entries())
  print(`| ${what} | ${columns.map((rows) => rows[at]?.[1]).join(' | ')} |`)
