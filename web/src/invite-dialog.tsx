import type { AuthError } from '@sallyport/client'
import { useMutation, useQueryClient } from '@tanstack/react-query'
import { type FormEvent, useState } from 'react'
import { admin } from './admin.ts'
import { Dialog } from './parts/dialog.tsx'
import { RolesField } from './parts/roles-field.tsx'
import { Failure, Notice } from './parts/states.tsx'
import { useToast } from './parts/toasts.tsx'

/** Invites somebody by mail, or makes the account for them. */
export function InviteDialog({ onClose }: { onClose: () => void }) {
  const queries = useQueryClient()
  const tell = useToast()
  const [roles, setRoles] = useState<string[]>([])
  const [makes, setMakes] = useState(false)
  const { mutate, isPending, error } = useMutation({
    mutationFn: ({ email, name }: { email: string; name: string }): Promise<unknown> =>
      makes ? admin.createUser({ email, name, roles }) : admin.invite({ email, roles }),
    onSuccess: async (_, { email }) => {
      tell(`A mail to ${email} is on its way.`)
      onClose()
      await queries.invalidateQueries({ queryKey: [makes ? 'users' : 'invitations'] })
    },
  })
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    const form = new FormData(event.currentTarget)
    mutate({ email: String(form.get('email')).trim(), name: String(form.get('name') ?? '') })
  }
  return (
    <Dialog title={makes ? 'Make an account' : 'Invite somebody'} onClose={onClose}>
      <form onSubmit={submit}>
        {error && <InviteFailure error={error as AuthError} />}
        <label className="field">
          <span>E-mail</span>
          <input name="email" type="email" autoComplete="off" maxLength={254} required />
        </label>
        <label className="switch">
          <input type="checkbox" checked={makes} onChange={(event) => setMakes(event.target.checked)} />
          <span>Make the account now</span>
        </label>
        {makes && (
          <label className="field">
            <span>Name</span>
            <input name="name" autoComplete="off" maxLength={200} pattern=".*\S.*" required />
          </label>
        )}
        <RolesField
          legend="What they may be. The first one chosen is the main role."
          roles={roles}
          onChange={setRoles}
        />
        <p className="hint">
          {makes
            ? 'They get a mail with a link to choose a password, for a week. Nobody else ever sees it.'
            : 'They get a mail with a link to make an account with these roles, for a week.'}
        </p>
        <footer>
          <button type="button" onClick={onClose}>
            Back
          </button>
          <button type="submit" className="primary" disabled={isPending || roles.length === 0}>
            {isPending ? 'Sending…' : makes ? 'Make account' : 'Invite'}
          </button>
        </footer>
      </form>
    </Dialog>
  )
}

/** What is said to whoever may invite is not what is said to whoever wants an account. */
function InviteFailure({ error }: { error: AuthError }) {
  if (error.code !== 'REGISTRATION_CLOSED') return <Failure error={error} />
  return <Notice tone="bad">Invitations are closed here. You can make the account yourself.</Notice>
}
