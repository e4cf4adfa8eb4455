import type { AuthError } from '@sallyport/client'
import { useAuth } from '@sallyport/react'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import type { FormEvent } from 'react'
import { account, factors } from './client.ts'
import { Dialog } from './parts/dialog.tsx'
import { AccountField, CurrentPasswordField, NewPasswordField } from './parts/fields.tsx'
import { Failure, Notice } from './parts/states.tsx'
import { useToast } from './parts/toasts.tsx'

export function PasswordDialog({ onClose }: { onClose: () => void }) {
  const { user } = useAuth()
  const queries = useQueryClient()
  const { data } = useQuery({ queryKey: ['factors'], queryFn: factors.getFactors })
  const hasFactor = data !== undefined && (data.totp || data.passkeys.length > 0)
  const tell = useToast()
  const { mutate, isPending, error } = useMutation({
    mutationFn: account.changePassword,
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
        <AccountField email={user?.email ?? ''} />
        <CurrentPasswordField />
        <NewPasswordField shortest={hasFactor ? 8 : 15} />
        <p className="hint">Every other session ends.</p>
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
