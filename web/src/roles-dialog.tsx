import { type FormEvent, useState } from 'react'
import type { User } from './api.ts'
import { Dialog } from './parts/dialog.tsx'
import { Failure } from './parts/states.tsx'

interface Props {
  user: User
  isPending: boolean
  error: unknown
  onSave(roles: string[]): void
  onClose(): void
}

/** The roles that the routes of the gateway know. */
const known = ['admin', 'doctor', 'patient']

export function RolesDialog({ user, isPending, error, onSave, onClose }: Props) {
  const [roles, setRoles] = useState(user.roles)
  const choices = [...new Set([...user.roles, ...known])]
  const toggle = (role: string) =>
    setRoles(roles.includes(role) ? roles.filter((other) => other !== role) : [...roles, role])
  const submit = (event: FormEvent) => {
    event.preventDefault()
    onSave(roles)
  }
  return (
    <Dialog title={`Roles of ${user.name}`} onClose={onClose}>
      <form onSubmit={submit}>
        {error != null && <Failure error={error} />}
        <fieldset className="choices">
          <legend>What {user.name} may be. The first one chosen is the main role.</legend>
          {choices.map((role) => (
            <label key={role}>
              <input type="checkbox" checked={roles.includes(role)} onChange={() => toggle(role)} />
              <span>{role}</span>
              {roles[0] === role && <span className="chip">main</span>}
            </label>
          ))}
        </fieldset>
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
