import type { TotpSecret } from '@sallyport/client'
import { useMutation, useQueryClient } from '@tanstack/react-query'
import { type FormEvent, useRef } from 'react'
import { factors } from './client.ts'
import { CopyButton } from './parts/copy-button.tsx'
import { Dialog } from './parts/dialog.tsx'
import { TotpField } from './parts/fields.tsx'
import { useRecoveryCodes } from './parts/recovery-codes.tsx'
import { Failure } from './parts/states.tsx'
import { useToast } from './parts/toasts.tsx'

/** Brings a secret into an authenticator app, and has the first code show that it is there. */
export function TotpDialog({ secret, uri, qr, onClose }: TotpSecret & { onClose: () => void }) {
  const queries = useQueryClient()
  const tell = useToast()
  const showRecoveryCodes = useRecoveryCodes()
  const form = useRef<HTMLFormElement>(null)
  const { mutate, isPending, error } = useMutation({
    mutationFn: factors.confirmTotp,
    onSuccess: async ({ recoveryCodes }) => {
      tell('The app is set up.')
      onClose()
      if (recoveryCodes) showRecoveryCodes(recoveryCodes)
      await queries.invalidateQueries({ queryKey: ['factors'] })
    },
    onError: () => setTimeout(() => form.current?.querySelector('input')?.select()),
  })
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    mutate({ code: String(new FormData(event.currentTarget).get('code')).replaceAll(' ', '') })
  }
  return (
    <Dialog title="Set up an authenticator app" onClose={onClose}>
      <form onSubmit={submit} ref={form}>
        {error && <Failure error={error} />}
        <ol className="steps">
          <li>
            <p>
              Scan this with the app, or <a href={uri}>open it in an app on this device</a>.
            </p>
            <img className="qr" src={`data:image/svg+xml,${encodeURIComponent(qr)}`} alt="QR code of the key below" />
            <p className="hint">Or type this key into the app:</p>
            <div className="key">
              <code>{secret.match(/.{1,4}/g)?.join(' ')}</code>
              <CopyButton text={secret} label="Copy the key" />
            </div>
          </li>
          <li>
            <TotpField label="Type the code that the app shows" />
          </li>
        </ol>
        <footer>
          <button type="button" onClick={onClose}>
            Back
          </button>
          <button type="submit" className="primary" disabled={isPending}>
            {isPending ? 'One moment…' : 'Turn on'}
          </button>
        </footer>
      </form>
    </Dialog>
  )
}
