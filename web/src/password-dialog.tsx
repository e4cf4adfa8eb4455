import type { AuthError } from '@sallyport/client'
import { useMutation, useQueryClient } from '@tanstack/react-query'
import type { FormEvent } from 'react'
import { api } from './api.ts'
import { Dialog } from './parts/dialog.tsx'
import { Failure, Notice } from './parts/states.tsx'
import { useToast } from './parts/toasts.tsx'

/** As the service counts: code points, after normalization, and not the halves of them that `minLength` counts. */
function checkLength({ currentTarget }: FormEvent<HTMLInputElement>) {
  const length = [...currentTarget.value.normalize('NFC')].length
  currentTarget.setCustomValidity(length < 15 || length > 1024 ? 'Use 15 to 1024 characters.' : '')
}

export function PasswordDialog({ onClose }: { onClose: () => void }) {
  const queries = useQueryClient()
  const tell = useToast()
  const { mutate, isPending, error } = useMutation({
    mutationFn: api.changePassword,
    onSuccess: async () => {
      tell('The password was changed. Every other session has ended.')
      onClose()
      await queries.invalidateQueries({ queryKey: ['sessions'] })
    },
  })
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    const form = new FormData(event.currentTarget)
    mutate({
      currentPassword: String(form.get('currentPassword')),
      newPassword: String(form.get('newPassword')),
    })
  }
  const isWrong = (error as AuthError | null)?.code === 'PASSWORD_WRONG'
  return (
    <Dialog title="Change password" onClose={onClose}>
      <form onSubmit={submit}>
        {isWrong ? <Notice tone="bad">The current password is not right.</Notice> : error && <Failure error={error} />}
        <label className="field">
          <span>Current password</span>
          <input name="currentPassword" type="password" autoComplete="current-password" required />
        </label>
        <label className="field">
          <span>New password</span>
          <input
            name="newPassword"
            type="password"
            autoComplete="new-password"
            required
            onInput={checkLength}
            aria-describedby="password-hint"
          />
        </label>
        <p className="hint" id="password-hint">
          At least 15 characters; a few words that only you put together are good. Every other session ends.
        </p>
        <footer>
          <button type="button" onClick={onClose}>
            Back
          </button>
          <button type="submit" className="primary" disabled={isPending}>
            {isPending ? 'Saving…' : 'Change password'}
          </button>
        </footer>
      </form>
    </Dialog>
  )
}
