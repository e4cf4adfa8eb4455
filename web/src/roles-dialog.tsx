import { type FormEvent, useState } from 'react'
import type { User } from './api.ts'
import { Dialog } from './parts/dialog.tsx'
import { RolesField } from './parts/roles-field.tsx'
import { Failure } from './parts/states.tsx'

interface Props {
  user: User
  isPending: boolean
  error: unknown
  onSave(roles: string[]): void
  onClose(): void
}

export function RolesDialog({ user, isPending, error, onSave, onClose }: Props) {
  const [roles, setRoles] = useState(user.roles)
  const submit = (event: FormEvent) => {
    event.preventDefault()
    onSave(roles)
  }
  return (
    <Dialog title={`Roles of ${user.name}`} onClose={onClose}>
      <form onSubmit={submit}>
        {error != null && <Failure error={error} />}
        <RolesField
          legend={`What ${user.name} may be. The first one chosen is the main role.`}
          roles={roles}
          others={user.roles}
          onChange={setRoles}
        />
        <p className="hint">It counts from the next request on; nobody is signed out.</p>
        <footer>
          <button type="button" onClick={onClose}>
            Back
          </button>
          <button type="submit" className="primary" disabled={isPending || roles.length === 0}>
            Save
          </button>
        </footer>
      </form>
    </Dialog>
  )
}
