import type { AuthError, StepUpOptions } from '@sallyport/client'
import { useMutation } from '@tanstack/react-query'
import { type FormEvent, type ReactNode, useLayoutEffect, useRef, useState } from 'react'
import { passkeys } from '../client.ts'
import { CurrentPasswordField, RecoveryCodeField, TotpField } from './fields.tsx'
import { PasskeyIcon } from './icons.tsx'
import { Failure, Notice } from './states.tsx'

type Method = StepUpOptions['methods'][number]
type Credential = Awaited<ReturnType<typeof passkeys.secondFactor>>

export type Proof = { password: string } | { code: string } | { credential: Credential }

interface Props extends Omit<StepUpOptions, 'challengeId'> {
  /** What the button of a code says. */
  label: string
  /** What it throws is shown. */
  onProof(proof: Proof): Promise<unknown>
  /** Goes back, if that is possible. */
  onBack?: () => void
  /** Whose password it is. */
  account?: ReactNode
}

/** The first that is possible is offered first. */
const order: Method[] = ['totp', 'passkey', 'password', 'recovery_code']

const switches = {
  totp: 'Use a code from your app',
  password: 'Use your password',
  recovery_code: 'Lost your phone? Use a recovery code',
}

/** Has the user prove who they are in one of several ways: one form at a time, and buttons to the others. */
export function ProofForm({ methods, options, label, onProof, onBack, account }: Props) {
  const byPasskey =
    options && passkeys.isAvailable() ? async () => ({ credential: await passkeys.secondFactor(options) }) : undefined
  const ways = order.filter((way) => methods.includes(way) && (way !== 'passkey' || byPasskey))
  const [chosen, setChosen] = useState<Method>()
  const method = chosen ?? ways[0]
  const form = useRef<HTMLFormElement>(null)
  const { mutate, isPending, error, reset } = useMutation({
    mutationFn: async (prove: () => Promise<Proof>) => onProof(await prove()),
    // Once the field can be used again.
    onError: () => setTimeout(() => form.current?.querySelector<HTMLInputElement>('input:not([readonly])')?.select()),
  })
  // In the layout phase: before a card or a dialog looks whether anything of it has the focus.
  useLayoutEffect(() => {
    if (method) form.current?.querySelector<HTMLElement>('input:not([readonly]), .primary')?.focus()
  }, [method])
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    const { code = '', currentPassword } = Object.fromEntries(new FormData(event.currentTarget)) as Record<
      string,
      string
    >
    const typed = currentPassword === undefined ? { code: code.replaceAll(' ', '') } : { password: currentPassword }
    mutate(method === 'passkey' && byPasskey ? byPasskey : async () => typed)
  }
  const others = ways.filter((way) => way !== method)
  if (method === undefined)
    return (
      <Notice tone="warn">This browser knows no passkeys, and your account has nothing else to confirm with.</Notice>
    )
  return (
    <form onSubmit={submit} ref={form} className="proof">
      {error &&
        ((error as AuthError).code === 'PASSWORD_WRONG' ? (
          <Notice tone="bad">The password is not right.</Notice>
        ) : (
          <Failure error={error} />
        ))}
      {method === 'totp' && <TotpField key={method} />}
      {method === 'recovery_code' && <RecoveryCodeField key={method} />}
      {method === 'password' && (
        <>
          {account}
          <CurrentPasswordField label="Password" />
        </>
      )}
      {method === 'passkey' && <p className="hint">Your browser asks for your fingerprint, your face or its PIN.</p>}
      <footer>
        {onBack && (
          <button type="button" onClick={onBack}>
            Back
          </button>
        )}
        <button type="submit" className="primary" disabled={isPending}>
          {isPending ? 'One moment…' : method === 'passkey' ? 'Use a passkey' : label}
        </button>
      </footer>
      {others.length > 0 && (
        <div className="ways">
          {others.map((way) =>
            way === 'passkey' ? (
              <button key={way} type="button" disabled={isPending} onClick={() => byPasskey && mutate(byPasskey)}>
                <PasskeyIcon />
                Use a passkey
              </button>
            ) : (
              <button
                key={way}
                type="button"
                className="link"
                onClick={() => {
                  reset()
                  setChosen(way)
                }}
              >
                {switches[way]}
              </button>
            ),
          )}
        </div>
      )}
    </form>
  )
}
