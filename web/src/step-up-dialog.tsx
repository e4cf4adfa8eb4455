import type { AuthError } from '@sallyport/client'
import { useAuth, useStepUp } from '@sallyport/react'
import { useMutation } from '@tanstack/react-query'
import type { FormEvent } from 'react'
import { stepUpPrompt } from './client.ts'
import { Dialog } from './parts/dialog.tsx'
import { AccountField, CurrentPasswordField } from './parts/fields.tsx'
import { Failure, Notice } from './parts/states.tsx'

/** Has the user confirm who they are, whenever a request of any page needs it. The request then goes on by itself. */
export function StepUpDialog() {
  const { isOpen, ...stepUp } = useStepUp(stepUpPrompt)
  return isOpen && <StepUpForm {...stepUp} />
}

function StepUpForm({ confirm, cancel }: Omit<ReturnType<typeof useStepUp>, 'isOpen'>) {
  const { user } = useAuth()
  const { mutate, isPending, error } = useMutation({ mutationFn: confirm })
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    mutate({ password: String(new FormData(event.currentTarget).get('currentPassword')) })
  }
  const isWrong = (error as AuthError | null)?.code === 'PASSWORD_WRONG'
  return (
    <Dialog title="Confirm that it is you" onClose={cancel}>
      <form onSubmit={submit}>
        {isWrong ? <Notice tone="bad">The password is not right.</Notice> : error && <Failure error={error} />}
        <p className="hint">You signed in a while ago, and this is about your account.</p>
        <AccountField email={user?.email ?? ''} />
        <CurrentPasswordField label="Password" />
        <footer>
          <button type="button" onClick={cancel}>
            Back
          </button>
          <button type="submit" className="primary" disabled={isPending}>
            {isPending ? 'Confirming…' : 'Confirm'}
          </button>
        </footer>
      </form>
    </Dialog>
  )
}
