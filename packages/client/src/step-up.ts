import { AuthError } from './auth-error.ts'
import type { AuthService, StepUpProof } from './auth-service.ts'
import { exclusively } from './exclusive.ts'
import { fixable } from './fetch.ts'
import type { Locks } from './platform.ts'
import type { Refresh } from './refresh.ts'
import type { Store } from './store.ts'

interface Parts {
  store: Store
  service: AuthService
  refresh: Refresh
  freshAccessToken(): Promise<string | null>
  locks: Locks | undefined
  log(event: string): void
}

/** A newer proof of who is signed in, for the same session. No refresh runs meanwhile, which would bring an older one. */
export function createStepUp({ store, service, refresh, freshAccessToken, locks, log }: Parts) {
  return async (proof: StepUpProof): Promise<void> => {
    await freshAccessToken()
    const { version } = store.session
    await exclusively(locks, prove).catch(async (error: AuthError) => {
      if (!fixable.includes(error.code)) throw error
      await refresh(version)
      return exclusively(locks, prove)
    })

    async function prove(): Promise<void> {
      store.sync()
      const { session } = store
      if (session.accessToken === null) throw new AuthError('SIGNED_OUT', 'Nobody is signed in')
      const next = await service.stepUp(proof, session)
      store.sync()
      if (store.session !== session) return
      // The cookie is the one before: a refresh whose response was lost is still to be retried as itself.
      store.write(next, store.attempt)
      log('stepped up')
    }
  }
}
