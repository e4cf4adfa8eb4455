import type { AuthError, StepUpNeed, StepUpProof } from '@sallyport/client'
import { useAuth, useStepUp } from '@sallyport/react'
import { useQuery } from '@tanstack/react-query'
import { Link } from 'wouter'
import { factors, stepUpPrompt } from './client.ts'
import { Dialog } from './parts/dialog.tsx'
import { AccountField } from './parts/fields.tsx'
import { type Proof, ProofForm } from './parts/proof-form.tsx'
import { Failure, Loading } from './parts/states.tsx'

/** Has the user confirm who they are, whenever a request of any page needs it. The request then goes on by itself. */
export function StepUpDialog() {
  const { need, confirm, cancel } = useStepUp(stepUpPrompt)
  return need && <StepUpForm need={need} confirm={confirm} cancel={cancel} />
}

interface Props {
  need: StepUpNeed
  confirm(proof: StepUpProof): Promise<void>
  cancel(): void
}

function StepUpForm({ need, confirm, cancel }: Props) {
  const { user } = useAuth()
  const { data, error, refetch } = useQuery({
    queryKey: ['step-up'],
    queryFn: factors.stepUpOptions,
    // A challenge is for one dialog, and another would take the place of one that is being answered.
    gcTime: 0,
    refetchOnWindowFocus: false,
    refetchOnReconnect: false,
  })
  const needsSecond = need.acr === 'aal2'
  const methods = data?.methods.filter((method) => method !== 'password' || !needsSecond)
  const prove = (proof: Proof) =>
    confirm('credential' in proof ? { challengeId: data?.challengeId as string, ...proof } : proof).catch(
      (error: AuthError) => {
        if (error.code === 'CHALLENGE_INVALID') void refetch()
        throw error
      },
    )
  return (
    <Dialog title="Confirm that it is you" onClose={cancel}>
      {methods?.length === 0 ? (
        <>
          <p>
            This needs a second step beside your password, such as a passkey or a code from an app. You have none yet.
          </p>
          <footer>
            <button type="button" onClick={cancel}>
              Back
            </button>
            <Link href="/account/factors" className="button" onClick={cancel}>
              Set one up
            </Link>
          </footer>
        </>
      ) : methods ? (
        <>
          <p className="hint">
            {needsSecond
              ? 'This needs more than your password.'
              : 'You signed in a while ago, and this is about your account.'}
          </p>
          <ProofForm
            methods={methods}
            {...(data?.options && { options: data.options })}
            label="Confirm"
            onProof={prove}
            onBack={cancel}
            account={<AccountField email={user?.email ?? ''} />}
          />
        </>
      ) : error ? (
        <Failure error={error} onRetry={() => void refetch()} />
      ) : (
        <Loading rows={2} />
      )}
    </Dialog>
  )
}
