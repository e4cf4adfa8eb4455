import { useMutation, useQueryClient } from '@tanstack/react-query'
import type { FormEvent } from 'react'
import { admin } from './admin.ts'
import type { User } from './api.ts'
import { Confirm } from './parts/confirm.tsx'
import { Dialog } from './parts/dialog.tsx'
import { Failure } from './parts/states.tsx'
import { useToast } from './parts/toasts.tsx'
import { RolesDialog } from './roles-dialog.tsx'

export type UserAction =
  | 'name'
  | 'roles'
  | 'sessions'
  | 'password'
  | 'factors'
  | 'unlock'
  | 'disable'
  | 'end'
  | 'enable'
  | 'delete'

interface Change {
  name?: string
  roles?: string[]
  disabled?: boolean
}

/** What an admin does to a user, after being asked. */
export function UserDialog({ user, action, onClose }: { user: User; action: UserAction; onClose: () => void }) {
  const queries = useQueryClient()
  const tell = useToast()
  const { mutate, isPending, error } = useMutation({
    mutationFn: (change: Change): Promise<unknown> => {
      switch (action) {
        case 'sessions':
          return admin.endSessionsOf(user.id)
        case 'password':
          return admin.sendPasswordMail(user.id)
        case 'factors':
          return admin.resetFactors(user.id)
        case 'unlock':
          return admin.unlock(user.id)
        case 'delete':
          return admin.deleteUser(user.id)
        default:
          return admin.changeUser(user.id, change)
      }
    },
    onSuccess: async () => {
      const done = {
        name: 'The name was changed.',
        roles: `${user.name} has new roles, from the next request on.`,
        sessions: `Every session of ${user.name} has ended.`,
        password: `A mail to ${user.email} is on its way.`,
        factors: `${user.name} has no second step any more, and is signed out everywhere.`,
        unlock: `The wrong passwords for ${user.name} are forgotten.`,
        disable: `${user.name} is disabled and signed out everywhere.`,
        end: `${user.name} is disabled and signed out everywhere, and nothing of theirs goes on.`,
        enable: `${user.name} may sign in again.`,
        delete: `${user.name} is signed out everywhere, and will be deleted.`,
      }
      tell(done[action])
      onClose()
      await Promise.all([
        queries.invalidateQueries({ queryKey: ['users'] }),
        queries.invalidateQueries({ queryKey: ['user', user.id] }),
      ])
    },
  })
  const state = { isPending, error, onClose }
  switch (action) {
    case 'name':
      return <NameDialog user={user} onSave={(name) => mutate({ name })} {...state} />
    case 'roles':
      return <RolesDialog user={user} onSave={(roles) => mutate({ roles })} {...state} />
    case 'sessions':
      return (
        <Confirm
          title={`End every session of ${user.name}?`}
          label="End sessions"
          onConfirm={() => mutate({})}
          {...state}
        >
          They are signed out on every device, at once, and can sign in again.
        </Confirm>
      )
    case 'password':
      return (
        <Confirm title={`Send ${user.name} a mail?`} label="Send mail" onConfirm={() => mutate({})} {...state}>
          It goes to {user.email} and has a link to choose a password, which nobody else ever sees. Until then nothing
          changes; then every session ends.
        </Confirm>
      )
    case 'factors':
      return (
        <Confirm
          title={`Reset the sign-in methods of ${user.name}?`}
          label="Reset sign-in methods"
          onConfirm={() => mutate({})}
          {...state}
        >
          Their authenticator app, passkeys and recovery codes no longer work, and every session ends. They sign in with
          the password alone and get a mail that says so. Make sure that it is {user.name} who asks for it.
        </Confirm>
      )
    case 'unlock':
      return (
        <Confirm title={`Unlock ${user.name}?`} label="Unlock" onConfirm={() => mutate({})} {...state}>
          The wrong passwords that came for the account are forgotten, so that the right one is tried again from any
          device.
        </Confirm>
      )
    case 'disable':
      return (
        <Confirm
          title={`Disable ${user.name}?`}
          label="Disable"
          onConfirm={() => mutate({ disabled: true })}
          {...state}
        >
          They are signed out on every device, at once, and cannot sign in until you enable them again.
        </Confirm>
      )
    case 'end':
      return (
        <Confirm
          title={`End everything of ${user.name}?`}
          label="End everything"
          onConfirm={() => mutate({ disabled: true })}
          {...state}
        >
          For an account that somebody else has got into. It is disabled, and every session ends at once on every
          device, also of whoever acts as {user.name}. Links to choose a password or to change the address work no more.
          Nobody can sign in to it until you enable it again.
        </Confirm>
      )
    case 'enable':
      return (
        <Confirm title={`Enable ${user.name}?`} label="Enable" onConfirm={() => mutate({ disabled: false })} {...state}>
          They can sign in again, with the password they had.
          {user.deleteAfter && ' If it was an administrator who deleted the account, it stays.'}
        </Confirm>
      )
    case 'delete':
      return (
        <Confirm title={`Delete ${user.name}?`} label="Delete" onConfirm={() => mutate({})} {...state}>
          They are signed out on every device, at once, and cannot sign in. The account is erased for good after a grace
          period; until then you can bring it back by enabling it. They get a mail that says so.
        </Confirm>
      )
  }
}

interface NameProps {
  user: User
  isPending: boolean
  error: unknown
  onSave(name: string): void
  onClose(): void
}

function NameDialog({ user, isPending, error, onSave, onClose }: NameProps) {
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    onSave(String(new FormData(event.currentTarget).get('name')))
  }
  return (
    <Dialog title={`Name of ${user.name}`} onClose={onClose}>
      <form onSubmit={submit}>
        {error != null && <Failure error={error} />}
        <label className="field">
          <span>Name</span>
          <input name="name" autoComplete="off" maxLength={200} pattern=".*\S.*" required defaultValue={user.name} />
        </label>
        <footer>
          <button type="button" onClick={onClose}>
            Back
          </button>
          <button type="submit" className="primary" disabled={isPending}>
            Save
          </button>
        </footer>
      </form>
    </Dialog>
  )
}
