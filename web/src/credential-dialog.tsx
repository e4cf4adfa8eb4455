import { AuthError } from '@sallyport/client'
import { useMutation, useQueryClient } from '@tanstack/react-query'
import { type FormEvent, useState } from 'react'
import { type Credential, type MadeCredential, machines, type NewCredential } from './machines.ts'
import { CopyButton } from './parts/copy-button.tsx'
import { Dialog } from './parts/dialog.tsx'
import { Field } from './parts/fields.tsx'
import { Failure, Notice } from './parts/states.tsx'
import { useToast } from './parts/toasts.tsx'

export const kinds: Record<Credential['kind'], { name: string; hint: string }> = {
  secret: { name: 'Secret', hint: 'The program sends it with its client ID, and gets a token for some minutes.' },
  api_key: {
    name: 'API key',
    hint: 'The program sends it with every request in place of a token. Anybody who has it can.',
  },
  keys: { name: 'Public keys', hint: 'The program signs with a key that never leaves it. Nothing here can be stolen.' },
}

interface Props {
  machine: { id: string }
  /** With what was made, for it to be shown once, if there is something to show. */
  onMade(made: MadeCredential): void
  onClose(): void
}

/** Adds a credential of any kind. */
export function CredentialDialog({ machine: { id }, onMade, onClose }: Props) {
  const queries = useQueryClient()
  const tell = useToast()
  const [kind, setKind] = useState<Credential['kind']>('secret')
  const { mutate, isPending, error } = useMutation({
    mutationFn: async (form: FormData) => machines.addCredential(id, credentialOf(kind, form)),
    // What it answers is kept nowhere.
    gcTime: 0,
    onSuccess: async (made) => {
      if (kind === 'keys') tell('The keys were added.')
      onClose()
      onMade(made)
      await queries.invalidateQueries({ queryKey: ['machines'] })
    },
  })
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    mutate(new FormData(event.currentTarget))
  }
  return (
    <Dialog title="Add a credential" onClose={onClose}>
      <form onSubmit={submit}>
        {error && <Failure error={error} />}
        <label className="field">
          <span>Kind</span>
          <select value={kind} onChange={(event) => setKind(event.target.value as Credential['kind'])}>
            {Object.entries(kinds).map(([value, { name }]) => (
              <option key={value} value={value}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <p className="hint">{kinds[kind].hint}</p>
        <Field label="Name" name="name" autoComplete="off" maxLength={100} pattern=".*\S.*" />
        {kind === 'keys' ? (
          <label className="field">
            <span>JWK Set, or its URL</span>
            <textarea name="keys" rows={6} autoComplete="off" spellCheck={false} required />
          </label>
        ) : (
          <Field label="Last day (if it has one)" name="lastDay" type="date" min={tomorrow()} required={false} />
        )}
        <footer>
          <button type="button" onClick={onClose}>
            Back
          </button>
          <button type="submit" className="primary" disabled={isPending}>
            {isPending ? 'One moment…' : 'Add'}
          </button>
        </footer>
      </form>
    </Dialog>
  )
}

/** @throws AuthError for keys that the server would not take, or should not see */
function credentialOf(kind: Credential['kind'], form: FormData): NewCredential {
  const field = (name: string) => String(form.get(name) ?? '').trim()
  const name = field('name')
  if (kind !== 'keys') {
    const lastDay = field('lastDay')
    return { kind, name, ...(lastDay && { expiresAt: new Date(`${lastDay}T23:59:59`).toISOString() }) }
  }
  const keys = field('keys')
  if (/^https?:\S+$/i.test(keys)) return { kind, name, jwksUri: keys }
  const jwks = parse(keys)
  if (!Array.isArray(jwks?.keys))
    throw new AuthError('KEYS_INVALID', 'This is neither a JWK Set, such as {"keys": [...]}, nor the URL of one.')
  if (jwks.keys.some((key: object | null) => key && ('d' in key || 'k' in key)))
    throw new AuthError(
      'KEYS_PRIVATE',
      'There is a private key among these. It was not sent: leave it where it is, and paste the public part alone.',
    )
  return { kind, name, jwks }
}

function parse(text: string) {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const tomorrow = () => new Date(Date.now() + 86_400_000).toISOString().slice(0, 10)

/** What is shown once. It is in this page's memory until it is said to be saved. */
export function MadeDialog({
  clientId,
  made,
  onSaved,
}: {
  clientId: string
  made: MadeCredential
  onSaved: () => void
}) {
  const { name, clientSecret, apiKey } = made
  return (
    <Dialog title={apiKey ? 'Save the API key' : 'Save the secret'}>
      <Notice tone="warn">
        It is shown only now, and nobody can show it again. If it is lost, revoke it and add another.
      </Notice>
      <dl className="once">
        {clientSecret && <Shown name="Client ID" value={clientId} />}
        <Shown name={name} value={(apiKey ?? clientSecret) as string} />
      </dl>
      <footer>
        <button type="button" className="primary" onClick={onSaved}>
          I have saved it
        </button>
      </footer>
    </Dialog>
  )
}

export function Shown({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        <code>{value}</code>
        <CopyButton text={value} label={`Copy`} />
      </dd>
    </div>
  )
}
