import { createBackOff } from './back-off.ts'
import { ServiceClientError } from './service-client-error.ts'
import { unlessAborted } from './unless-aborted.ts'

/** What a token endpoint issued. */
export interface IssuedToken {
  accessToken: string
  /** From when it was asked for, in seconds. */
  expiresIn: number
}

export interface TokenSource {
  /** A token that has not ended. A signal ends the wait of its caller, and not the request that others share. */
  get(signal?: AbortSignal | null): Promise<string>
  /**
   * Gives up a token that was refused somewhere, unless it was replaced already.
   *
   * @returns whether it is worth to ask for another: not if one was given up a moment ago, for then it is not the token
   */
  drop(token: string): boolean
}

interface KeptToken {
  token: string
  /** Milliseconds of the clock. */
  renewAt: number
  endsAt: number
}

/** A token is renewed in the last fifth of its time, and no earlier than so many seconds before its end. */
const earliest = 60

/** Milliseconds in which one token is given up at most: of a system that refuses every token none is asked for each call. */
const dropInterval = 1_000

/**
 * One token for all who ask: requested once at a time, kept until it ends, and with `renews` replaced ahead of that while
 * the old one is still given out. Nothing runs by itself: it is whoever asks late in a token's time that has it renewed.
 *
 * @param request gets another
 * @param now milliseconds of a clock that never goes back
 */
export function createTokenSource(
  request: () => Promise<IssuedToken>,
  { renews, now = () => performance.now() }: { renews: boolean; now?: () => number },
): TokenSource {
  let kept: KeptToken | undefined
  let pending: Promise<string> | undefined
  let droppedAt = Number.NEGATIVE_INFINITY
  // How long it is left alone while nobody answers is for the endpoint, which all sources share.
  const backOff = createBackOff(isRefusal, now)

  async function obtain(): Promise<string> {
    const askedAt = now()
    const { accessToken: token, expiresIn } = await backOff(request)
    const endsAt = askedAt + expiresIn * 1000
    if (now() >= endsAt) throw new ServiceClientError('unreachable', 'the token had ended before it came')
    kept = { token, endsAt, renewAt: renews ? endsAt - Math.min(expiresIn / 5, earliest) * 1000 : endsAt }
    return token
  }

  function renew(): Promise<string> {
    pending ??= obtain().finally(() => {
      pending = undefined
    })
    return pending
  }

  return {
    async get(signal) {
      signal?.throwIfAborted()
      if (!kept || now() >= kept.endsAt) return unlessAborted(renew(), signal)
      // Should it fail, the old one is good until its end.
      if (now() >= kept.renewAt) renew().catch(() => {})
      return kept.token
    },
    drop(token) {
      if (kept?.token !== token) return true
      if (now() < droppedAt + dropInterval) return false
      kept = undefined
      droppedAt = now()
      return true
    },
  }
}

const isRefusal = (error: unknown) => error instanceof ServiceClientError && error.code !== 'unreachable'
