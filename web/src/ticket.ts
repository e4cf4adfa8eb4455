import { useSyncExternalStore } from 'react'

let ticket: string | undefined
const listeners = new Set<() => void>()

/**
 * The ticket of a mail comes behind the `#` of its link, which no server sees. It is taken out of the address before
 * anything else happens, and is in memory alone: nothing of the history leads back to it, and no storage or log has it.
 */
function take(): void {
  const found = /^#ticket=(.+)/.exec(location.hash)
  if (!found) return
  ticket = found[1]
  history.replaceState(history.state, '', location.pathname + location.search)
  for (const listener of listeners) listener()
}

take()
// Where the page is open already, a link changes nothing but the hash.
addEventListener('hashchange', take)

/** The ticket of the link that was opened last, if one was. */
export const useTicket = () => useSyncExternalStore(subscribe, () => ticket)

function subscribe(listener: () => void): () => void {
  listeners.add(listener)
  return () => void listeners.delete(listener)
}
