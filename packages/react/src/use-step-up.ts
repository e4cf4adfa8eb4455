import type { AuthClient, StepUpNeed } from '@sallyport/client'
import { useCallback, useEffect, useSyncExternalStore } from 'react'
import { useAuth } from './use-auth.ts'

/** What is between the client, which needs a step-up, and the component that has the user confirm. */
export interface StepUpPrompt {
  /** For the client: `createAuthClient({ baseUrl, onStepUp: prompt.ask })`. Without a component to ask it resolves false. */
  ask(need: StepUpNeed): Promise<boolean>
  /** What is to be proved now; null if nobody asks. */
  getNeed(): StepUpNeed | null
  settle(isConfirmed: boolean): void
  subscribe(listener: () => void): () => void
}

/** Made once, outside of components, beside the client. */
export function createStepUpPrompt(): StepUpPrompt {
  const listeners = new Set<() => void>()
  let asked: { need: StepUpNeed; resolve(isConfirmed: boolean): void } | undefined
  const change = (next: typeof asked) => {
    asked = next
    for (const listener of listeners) listener()
  }
  const settle = (isConfirmed: boolean) => {
    asked?.resolve(isConfirmed)
    change(undefined)
  }
  return {
    ask: async (need) => listeners.size > 0 && new Promise<boolean>((resolve) => change({ need, resolve })),
    getNeed: () => asked?.need ?? null,
    settle,
    subscribe(listener) {
      listeners.add(listener)
      return () => {
        listeners.delete(listener)
        if (listeners.size === 0) settle(false)
      }
    },
  }
}

export interface StepUp {
  /** Whether the user is to confirm who they are, such as in a dialog. */
  isOpen: boolean
  /** What the request needs; null if it is not open. With `acr: 'aal2'` a password does not do. */
  need: StepUpNeed | null
  /** @throws AuthError, such as `PASSWORD_WRONG` or `CODE_WRONG`: it is still open then */
  confirm: AuthClient['stepUp']
  cancel(): void
}

/** For the one component that asks. What is waiting is cancelled when it goes, and when the user is another or nobody. */
export function useStepUp(prompt: StepUpPrompt): StepUp {
  const { client, user } = useAuth()
  const need = useSyncExternalStore(prompt.subscribe, prompt.getNeed, () => null)
  const id = user?.id
  useEffect(() => () => prompt.settle(false), [prompt, id])
  const confirm = useCallback<StepUp['confirm']>(
    async (proof) => {
      await client.stepUp(proof)
      prompt.settle(true)
    },
    [client, prompt],
  )
  const cancel = useCallback(() => prompt.settle(false), [prompt])
  return { isOpen: need !== null, need, confirm, cancel }
}
