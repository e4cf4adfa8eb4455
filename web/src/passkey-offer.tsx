import { useAuth } from '@sallyport/react'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { factors, passkeys } from './client.ts'
import { PasskeyIcon } from './parts/icons.tsx'
import { Failure } from './parts/states.tsx'
import { useNewPasskey } from './passkeys-section.tsx'

const key = 'passkey-offer'

/** Offers a passkey to whoever has none, until they say no in this browser: after a sign-in with a password, above all. */
export function PasskeyOffer() {
  const { user } = useAuth()
  const [isDeclined, setDeclined] = useState(() => readDeclined() === user?.id)
  const { data } = useQuery({ queryKey: ['factors'], queryFn: factors.getFactors, enabled: passkeys.isAvailable() })
  const { mutate, isPending, error } = useNewPasskey()
  if (isDeclined || !data || data.rpId === null || data.passkeys.length > 0) return null
  return (
    <section className="card offer" aria-label="Passkey">
      <PasskeyIcon />
      <div>
        <h2>Sign in without a password next time</h2>
        <p className="hint">
          A passkey is your fingerprint, your face or the PIN of this device. Nobody can guess it or phish it.
        </p>
        {error && <Failure error={error} />}
      </div>
      <div className="buttons">
        <button
          type="button"
          className="quiet"
          onClick={() => {
            writeDeclined(user?.id ?? '')
            setDeclined(true)
          }}
        >
          Not now
        </button>
        <button type="button" className="primary" disabled={isPending} onClick={() => mutate()}>
          {isPending ? 'Waiting for your browser…' : 'Create a passkey'}
        </button>
      </div>
    </section>
  )
}

/** A browser that keeps nothing asks again. */
function readDeclined(): string | null {
  try {
    return localStorage.getItem(key)
  } catch {
    return null
  }
}

function writeDeclined(id: string): void {
  try {
    localStorage.setItem(key, id)
  } catch {}
}
