import { type ChainedEvent, type Head, hashOf, writeHead } from './chain.ts'
import type { Orphan } from './read-chain.ts'

/** What is wrong at a position of the chain, or with the events as a whole. */
export interface Fault {
  position: number | null
  fault:
    | 'missing'
    | 'event_removed'
    | 'changed'
    | 'erased_unlawfully'
    | 'not_chained'
    | 'head_missing'
    | 'head_differs'
    | 'out_of_order'
    | 'unreadable'
  meaning: string
}

export interface Verified {
  events: number
  first: Head | null
  /** Keep it elsewhere: whoever has it notices when the chain is cut or made anew. */
  head: Head | null
  /** How many lines were in a file again, as they are after a crash. */
  repeated: number
}

export type Verifier = ReturnType<typeof createVerifier>

/** How far back a repeated entry is known: further than an export ever goes back. */
export const remembered = 10_000

/**
 * Follows a chain entry by entry, in constant memory but for the ids of erased users.
 *
 * @param start what the first entry is chained to; if that is not known, the first entry is taken as it is
 * @param heads what the chain is known to have been
 * @param onFault receives each fault as it is found
 */
export function createVerifier(start: Head | undefined, heads: readonly Head[], onFault: (fault: Fault) => void) {
  let last: Head | undefined
  let first: Head | null = null
  let [events, repeated] = [0, 0]
  const recent = new Map<number, string>()
  const awaited = new Map(heads.map((head) => [head.position, head.hash]))
  const erased = new Set<string>()
  /** Whose erasure would explain what is not there, with the first position where it is not. */
  const unexplained = new Map<string, number>()
  if (start) reach(start)

  function report(position: number | null, fault: Fault['fault'], meaning: string): void {
    onFault({ position, fault, meaning })
  }

  /** Goes on from here. */
  function reach({ position, hash }: Head): void {
    const expected = awaited.get(position)
    if (expected !== undefined && expected !== hash)
      report(position, 'head_differs', `the chain had the hash ${expected} here, so it was made anew`)
    awaited.delete(position)
    last = { position, hash }
    recent.set(position, hash)
    recent.delete(position - remembered)
  }

  function add(entry: ChainedEvent | Orphan): void {
    const { position, hash } = entry
    if (last && position <= last.position) {
      addAgain(entry)
      return
    }
    if (last && position > last.position + 1) {
      const [from, to] = [last.position + 1, position - 1]
      report(from, 'missing', from === to ? 'the entry is not there' : `the entries up to ${to} are not there`)
    }
    check(entry)
    first ??= { position, hash }
    reach(entry)
    events += 1
  }

  /** As a file has it of which the end was not on the disk yet. */
  function addAgain(entry: ChainedEvent | Orphan): void {
    const { position, hash } = entry
    const known = recent.get(position)
    if (known === undefined) report(position, 'out_of_order', 'the entry comes too late')
    else if (known !== hash) report(position, 'changed', 'the entry is there twice, and not the same')
    else {
      check(entry)
      repeated += 1
    }
  }

  function check(entry: ChainedEvent | Orphan): void {
    const { position, hash } = entry
    if (entry.event === undefined) {
      report(position, 'event_removed', `the event ${entry.id} was chained, and is not there`)
      return
    }
    const previous = recent.get(position - 1)
    if (previous !== undefined && hashOf(previous, entry) !== hash)
      report(position, 'changed', `the event ${entry.id}, or its place, is not what was chained`)
    if (entry.event === 'user_erased' && entry.user !== null) erased.add(entry.user)
    expectErasure(entry)
  }

  /** Who did it is at the end of the reason; the IP address goes with either of them, the words with the user. */
  function expectErasure({ position, user, reason, commitments: { ip, words } }: ChainedEvent): void {
    const expect = (...people: string[]) => {
      const key = people.join()
      if (!unexplained.has(key)) unexplained.set(key, position)
    }
    const by = reason !== null && reason.length > 36 ? [reason.slice(-36)] : []
    if (ip && 'digest' in ip) expect(...(user === null ? by : [user, ...by]))
    if (words && 'digest' in words) expect(...(user === null ? [] : [user]))
  }

  return {
    add,
    reach,
    report,
    get last() {
      return last
    },
    /** Users of whom something was taken out, whom nothing yet said to be erased. */
    suspects: () => [...unexplained.keys()].flatMap((key) => key.split(',')).filter((id) => id && !erased.has(id)),
    /** These were erased, though the chain does not say so yet. */
    knowErased(users: Iterable<string>): void {
      for (const user of users) erased.add(user)
    },
    finish(): Verified {
      for (const [people, position] of unexplained)
        if (!people.split(',').some((id) => erased.has(id)))
          report(
            position,
            'erased_unlawfully',
            `something was taken out, and no user was erased (${people || 'nobody'})`,
          )
      for (const [position, hash] of awaited) {
        const isForgotten = start && position < start.position
        const why = isForgotten ? 'before what is kept, and cannot be verified' : 'not there: the chain was cut'
        report(position, 'head_missing', `${writeHead({ position, hash })} is ${why}`)
      }
      return { events, first, head: last ?? null, repeated }
    },
  }
}
