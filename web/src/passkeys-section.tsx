import type { FactorsState, Passkey } from '@sallyport/client'
import { useMutation, useQueryClient } from '@tanstack/react-query'
import { type FormEvent, useState } from 'react'
import { factors, passkeys } from './client.ts'
import { Confirm } from './parts/confirm.tsx'
import { Dialog } from './parts/dialog.tsx'
import { Field } from './parts/fields.tsx'
import { PasskeyIcon } from './parts/icons.tsx'
import { useRecoveryCodes } from './parts/recovery-codes.tsx'
import { Section } from './parts/section.tsx'
import { Failure } from './parts/states.tsx'
import { useToast } from './parts/toasts.tsx'
import { formatAgo, formatDate } from './times.ts'

/** Has the browser make a passkey, and shows the recovery codes that come with the first factor. */
export function useNewPasskey() {
  const queries = useQueryClient()
  const tell = useToast()
  const showRecoveryCodes = useRecoveryCodes()
  return useMutation({
    mutationFn: () => passkeys.create(),
    onSuccess: async ({ recoveryCodes }) => {
      tell('The passkey was added.')
      if (recoveryCodes) showRecoveryCodes(recoveryCodes)
      await queries.invalidateQueries({ queryKey: ['factors'] })
    },
  })
}

export function PasskeysSection({ passkeys: list, rpId }: FactorsState) {
  const { mutate, isPending, error } = useNewPasskey()
  return (
    <Section
      title="Passkeys"
      hint="You sign in with your fingerprint, your face or the PIN of a device, without the password. No page but this one can ask for it."
    >
      {list.length > 0 && (
        <ul className="passkeys">
          {list.map((passkey) => (
            <PasskeyRow key={passkey.id} passkey={passkey} />
          ))}
        </ul>
      )}
      {error && <Failure error={error} />}
      {rpId === null ? (
        <p className="hint">This system takes no passkeys.</p>
      ) : passkeys.isAvailable() ? (
        <button type="button" disabled={isPending} onClick={() => mutate()}>
          <PasskeyIcon />
          {isPending ? 'Waiting for your browser…' : 'Add a passkey'}
        </button>
      ) : (
        <p className="hint">This browser knows no passkeys. Open the page in another to add one.</p>
      )}
    </Section>
  )
}

function PasskeyRow({ passkey: { id, name, createdAt, lastUsedAt, backedUp } }: { passkey: Passkey }) {
  const [action, setAction] = useState<'rename' | 'remove'>()
  const close = () => setAction(undefined)
  return (
    <li>
      <div className="row-main">
        <strong>{name}</strong>
        <span>{backedUp ? 'Synced' : 'On this device only'}</span>
        <span>
          Made {formatDate(createdAt)}, {lastUsedAt ? `last used ${formatAgo(lastUsedAt)}` : 'never used'}
        </span>
      </div>
      <div className="actions">
        <button type="button" className="small" aria-label={`Rename ${name}`} onClick={() => setAction('rename')}>
          Rename
        </button>
        <button
          type="button"
          className="small danger"
          aria-label={`Remove ${name}`}
          onClick={() => setAction('remove')}
        >
          Remove
        </button>
      </div>
      {action === 'rename' && <RenameDialog id={id} name={name} onClose={close} />}
      {action === 'remove' && <RemoveDialog id={id} name={name} onClose={close} />}
    </li>
  )
}

interface DialogProps {
  id: string
  name: string
  onClose(): void
}

function RenameDialog({ id, name, onClose }: DialogProps) {
  const queries = useQueryClient()
  const { mutate, isPending, error } = useMutation({
    mutationFn: (change: { name: string }) => factors.renamePasskey(id, change),
    onSuccess: async () => {
      onClose()
      await queries.invalidateQueries({ queryKey: ['factors'] })
    },
  })
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    mutate({ name: String(new FormData(event.currentTarget).get('name')).trim() })
  }
  return (
    <Dialog title="Rename the passkey" onClose={onClose}>
      <form onSubmit={submit}>
        {error && <Failure error={error} />}
        <Field label="Name" name="name" autoComplete="off" maxLength={100} pattern=".*\S.*" defaultValue={name} />
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

function RemoveDialog({ id, name, onClose }: DialogProps) {
  const queries = useQueryClient()
  const tell = useToast()
  const { mutate, isPending, error } = useMutation({
    mutationFn: () => passkeys.remove(id),
    onSuccess: async () => {
      tell(`${name} was removed.`)
      onClose()
      await queries.invalidateQueries({ queryKey: ['factors'] })
    },
  })
  return (
    <Confirm
      title={`Remove ${name}?`}
      label="Remove"
      isPending={isPending}
      error={error}
      onConfirm={() => mutate()}
      onClose={onClose}
    >
      It no longer signs you in. Your browser is asked to forget it; where it cannot, remove it from your password
      manager too.
    </Confirm>
  )
}
