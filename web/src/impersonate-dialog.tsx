import type { AuthError } from '@sallyport/client'
import { useMutation } from '@tanstack/react-query'
import type { FormEvent } from 'react'
import { useLocation } from 'wouter'
import { admin } from './admin.ts'
import type { User } from './api.ts'
import { client } from './client.ts'
import { Dialog } from './parts/dialog.tsx'
import { Field } from './parts/fields.tsx'
import { Failure, Notice } from './parts/states.tsx'

/** Has an admin say why, and lets this tab act for the user from then on. */
export function ImpersonateDialog({ user: { id, name }, onClose }: { user: User; onClose: () => void }) {
  const [, navigate] = useLocation()
  const { mutate, isPending, error } = useMutation({
    mutationFn: async (reason: string) => {
      client.actAs(await admin.impersonate(id, { reason }))
      navigate('/')
    },
  })
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    mutate(String(new FormData(event.currentTarget).get('reason')).trim())
  }
  return (
    <Dialog title={`Sign in as ${name}?`} onClose={onClose}>
      <form onSubmit={submit}>
        {error && <ImpersonateFailure error={error as AuthError} />}
        <Field label="Reason" name="reason" autoComplete="off" maxLength={500} pattern=".*\S.*" />
        <p className="hint">
          This tab then shows what they see, for a quarter of an hour at most, and what you do counts as done for them.
          The reason is recorded and mailed to them, and they see among their sessions that it is you. Their account,
          their sessions and their sign-in methods stay out of your reach.
        </p>
        <footer>
          <button type="button" onClick={onClose}>
            Back
          </button>
          <button type="submit" className="primary" disabled={isPending}>
            {isPending ? 'One moment…' : 'Sign in as them'}
          </button>
        </footer>
      </form>
    </Dialog>
  )
}

/** Whose roles allow it is not for the admins to say. */
function ImpersonateFailure({ error }: { error: AuthError }) {
  if (error.code !== 'ROLE_REQUIRED') return <Failure error={error} />
  return (
    <Notice tone="bad">None of your roles may sign in as others. The operator of the service says which may.</Notice>
  )
}
