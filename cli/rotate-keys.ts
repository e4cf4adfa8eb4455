import { formatKeys, type Key, type Kind, kinds, makeNewKey, parseKeys } from './key-file.ts'

/** Milliseconds until every gateway has a key that was published: the most that JWKS_MAX_AGE can be. */
export const spread = 300_000

/** The same where Kubernetes hands files on, which takes it up to two minutes. */
const spreadOfSecrets = 600_000

const day = 86_400_000
/** How old the active key may become: the schedule of docs/keys.md. */
const schedule: Record<Kind, number> = { signing: 90 * day, refresh: 180 * day, factor: 180 * day }

/** The files of the secret `auth-keys`, as `keys files` makes them. */
export const files: Record<Kind, string> = { signing: 'jwt.pem', refresh: 'refresh', factor: 'factor' }

interface Rotation {
  /** Milliseconds for which what a key signed may be in use. */
  lifetime: number
  /** To begin, whatever the age of the active key. */
  begin: boolean
  spread?: number
}

/**
 * Does the step of a rotation that is due: keys that are no longer in use are retired, the key that every process has by
 * now becomes the active one, and when the active one is too old the next is added. Any number of runs is as good as one,
 * so a scheduler may run it at any time.
 *
 * @returns the keys from now on, and what was done or is waited for
 */
export function rotate(kind: Kind, keys: Key[], options: Rotation): { keys: Key[]; lines: string[] } {
  const now = Date.now()
  const [active, ...others] = keys as [Key, ...Key[]]
  const isOver = ({ activeUntil = '' }: Key) => Date.parse(activeUntil) + options.lifetime <= now
  const kept = others.filter((key) => !isOver(key))
  const lines = others.filter(isOver).map(({ kid }) => `${kind}: ${kid} is retired`)
  const say = (line: string) => lines.push(`${kind}: ${line}`)

  // A key that does not say when it was made may be any: it stays where it is.
  const next = kept.find(({ created, activeUntil }) => created && !activeUntil)
  if (next) {
    const readyAt = Date.parse(next.created as string) + (options.spread ?? spread)
    if (readyAt > now) {
      say(`${next.kid} is active with the first run after ${new Date(readyAt).toISOString()}`)
      return { keys: [active, ...kept], lines }
    }
    say(`${next.kid} is active; ${active.kid} is still accepted`)
    const old = { ...active, activeUntil: new Date(now).toISOString() }
    return { keys: [next, old, ...kept.filter((key) => key !== next)], lines }
  }

  const dueAt = Date.parse(active.created ?? '') + schedule[kind]
  if (dueAt > now && !options.begin) {
    say(`${active.kid} stays active until ${new Date(dueAt).toISOString()}`)
    return { keys: [active, ...kept], lines }
  }
  const made = makeNewKey(kind)
  say(`made ${made.kid}, which the first run after ${(options.spread ?? spread) / 60_000} minutes makes active`)
  return { keys: [active, ...kept, made], lines }
}

/**
 * The same for each set of the Kubernetes secret `auth-keys`, as `kubectl get --output json` has it and
 * `kubectl replace` takes it, which refuses it if somebody else has changed the secret meanwhile.
 */
export function rotateSecret(json: string, chosen: Kind[], optionsOf: (kind: Kind) => Rotation) {
  const secret = JSON.parse(json)
  const lines = chosen.flatMap((kind) => {
    const name = files[kind]
    const content = secret.data?.[name]
    if (typeof content !== 'string') throw new Error(`the secret has no ${name}, which holds ${kinds[kind].setting}`)
    const keys = parseKeys(kind, Buffer.from(content, 'base64').toString())
    const after = rotate(kind, keys, { ...optionsOf(kind), spread: spreadOfSecrets })
    secret.data[name] = Buffer.from(formatKeys(after.keys)).toString('base64')
    return after.lines
  })
  return { json: JSON.stringify(secret), lines }
}
