import type { AuthError, SecondFactor } from '@sallyport/client'
import { takeReturnPath, useAuth } from '@sallyport/react'
import { type FormEvent, useEffect, useRef, useState } from 'react'
import { Link, useLocation } from 'wouter'
import { useHistoryState } from 'wouter/use-browser-location'
import { client, mayRegister, passkeys } from '../client.ts'
import { Card } from '../parts/card.tsx'
import { EmailField, PasswordField } from '../parts/fields.tsx'
import { PasskeyIcon } from '../parts/icons.tsx'
import { useRecoveryCodes } from '../parts/recovery-codes.tsx'
import { Notice } from '../parts/states.tsx'
import { useToast } from '../parts/toasts.tsx'
import { useSecondFactor } from '../second-factor.tsx'
import { explain, explainSignOut } from '../words.ts'

export function LoginPage() {
  const { status, signOut, login } = useAuth()
  const [, navigate] = useLocation()
  const [error, setError] = useState<unknown>()
  const [busy, setBusy] = useState<'password' | 'passkey'>()
  const formElement = useRef<HTMLFormElement>(null)
  /** What a page that led here has to say. */
  const notice = useHistoryState<{ notice?: string } | null>()?.notice
  const why = signOut && explainSignOut(signOut)
  const secondFactor = useSecondFactor('Sign in')
  const isSecondStep = secondFactor.form !== undefined
  const takesPasskeys = useAutofill(busy !== 'passkey' && !isSecondStep, setError)
  const createPasskey = useAutomaticPasskey()
  /** Whether the second step was a recovery code. */
  const recovered = useRef(false)

  // Also when the user signed in in another tab.
  useEffect(() => {
    if (status !== 'signed-in') return
    if (recovered.current) navigate('/account/factors', { replace: true, state: { notice: afterRecovery } })
    else navigate(takeReturnPath(), { replace: true })
  }, [status, navigate])

  async function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault()
    const form = new FormData(event.currentTarget)
    setBusy('password')
    setError(undefined)
    try {
      const credentials = { email: String(form.get('email')).trim(), password: String(form.get('password')) }
      await login(credentials).then(createPasskey, secondFactor.ask(signInWith))
    } catch (failure) {
      setError(failure)
      setBusy(undefined)
      // Once it is shown again, if there was a second step.
      setTimeout(() => formElement.current?.querySelector<HTMLInputElement>('#current-password')?.select())
    }
  }

  function signInWith(factor: SecondFactor) {
    recovered.current = 'code' in factor && factor.code.length > 6
    return client.loginWithSecondFactor(factor)
  }

  async function signInWithPasskey() {
    setBusy('passkey')
    setError(undefined)
    await passkeys.signIn().catch((failure) => {
      setError(failure)
      setBusy(undefined)
    })
  }

  return (
    <Card
      title={isSecondStep ? 'One more step' : 'Sign in'}
      foot={isSecondStep && 'No codes left? An administrator can reset your sign-in methods.'}
    >
      {isSecondStep ? null : error ? (
        <Notice tone="bad">
          {explain(error)}
          {(error as AuthError).code === 'AUTH_INVALID_CREDENTIALS' && (
            <>
              {' '}
              Or <Link href="/forgot-password">choose a new password by mail</Link>.
            </>
          )}
        </Notice>
      ) : notice ? (
        <Notice tone="info">{notice}</Notice>
      ) : (
        why && <Notice tone="warn">{why}</Notice>
      )}
      {secondFactor.form}
      {isSecondStep && (
        <p className="links">
          <button
            type="button"
            className="link"
            onClick={() => {
              secondFactor.leave()
              setBusy(undefined)
            }}
          >
            Back to the password
          </button>
        </p>
      )}
      <div className="step" hidden={isSecondStep}>
        <form onSubmit={submit} ref={formElement}>
          <EmailField autoComplete="username webauthn" autoFocus />
          <PasswordField label="Password" id="current-password" name="password" autoComplete="current-password" />
          <button type="submit" className="primary wide" disabled={busy !== undefined}>
            {busy === 'password' ? 'Signing in…' : 'Sign in'}
          </button>
        </form>
        {takesPasskeys && (
          <button
            type="button"
            className="quiet wide"
            disabled={busy !== undefined}
            onClick={() => void signInWithPasskey()}
          >
            <PasskeyIcon />
            {busy === 'passkey' ? 'Waiting for your passkey…' : 'Sign in with a passkey'}
          </button>
        )}
        <p className="links">
          <Link href="/forgot-password">Forgot password?</Link>
          {mayRegister && <Link href="/register">Create account</Link>}
        </p>
      </div>
    </Card>
  )
}

/** Whoever has lost a phone has something to do. */
const afterRecovery =
  'You signed in with a recovery code. If your phone is lost, remove what was on it here, and add what you use now.'

/** Shorter than the server waits for an answer to its challenge, and a page of a login may be open for long. */
const offeredFor = 4 * 60_000

/**
 * Lets the browser offer passkeys where it offers passwords.
 *
 * @param isOffered not while another ceremony runs, which this one would end
 * @returns whether a button for them makes sense
 */
function useAutofill(isOffered: boolean, onError: (error: unknown) => void): boolean {
  const [isTaken, setTaken] = useState(passkeys.isAvailable())
  useEffect(() => {
    if (!isOffered || !isTaken) return
    const leaving = new AbortController()
    const offer = () =>
      passkeys.signIn({ autofill: true, signal: leaving.signal }).catch((error: AuthError) => {
        if (error.code === 'PASSKEYS_UNAVAILABLE') setTaken(false)
        // Nobody has asked for what fails before a passkey was chosen.
        if (['PASSKEY_UNKNOWN', 'PASSKEY_INVALID', 'CHALLENGE_INVALID'].includes(error.code)) onError(error)
      })
    void offer()
    const timer = setInterval(offer, offeredFor)
    return () => {
      clearInterval(timer)
      leaving.abort()
    }
  }, [isOffered, isTaken, onError])
  return isTaken
}

/** After a sign-in with the password alone: some browsers make a passkey then without asking. The page does not wait. */
function useAutomaticPasskey(): () => void {
  const tell = useToast()
  const showRecoveryCodes = useRecoveryCodes()
  return () =>
    void passkeys.create({ automatic: true }).then((created) => {
      if (!created) return
      tell('A passkey was saved. From now on you can sign in without your password.')
      if (created.recoveryCodes) showRecoveryCodes(created.recoveryCodes)
    })
}
