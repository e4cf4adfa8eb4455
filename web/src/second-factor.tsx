import type { AuthError, Problem, SecondFactor } from '@sallyport/client'
import { type ReactNode, useState } from 'react'
import { ProofForm } from './parts/proof-form.tsx'

interface Step extends Problem {
  present(proof: object): Promise<void>
}

/**
 * The second step of a call that answers `SECOND_FACTOR_REQUIRED`: `ask` goes behind it, as what its promise catches, and
 * is done when the call is, with a second factor that the user gives in `form`. The call fails where it cannot go on
 * with this challenge.
 */
export function useSecondFactor(label: string): {
  form: ReactNode
  ask(present: (factor: SecondFactor) => Promise<void>): (error: AuthError) => Promise<void>
  leave(): void
} {
  const [step, setStep] = useState<Step>()
  const leave = () => setStep(undefined)
  return {
    form: step && <ProofForm {...step} methods={step.methods ?? []} label={label} onProof={step.present} />,
    leave,
    ask: (present) => (error) => {
      const { problem } = error
      const { challenge } = problem
      if (error.code !== 'SECOND_FACTOR_REQUIRED' || challenge === undefined) throw error
      return new Promise((resolve, reject) =>
        setStep({
          ...problem,
          present: (proof) =>
            present({ challenge, ...proof } as SecondFactor).then(resolve, (failure: AuthError) => {
              if (mayBeRepeated(failure)) throw failure
              reject(failure)
              leave()
            }),
        }),
      )
    },
  }
}

/** Another code or passkey may do, or the same a little later. */
const mayBeRepeated = ({ code, status }: AuthError) =>
  /^(CODE|PASSKEY)_/.test(code) || status === 0 || status === 429 || status >= 500
