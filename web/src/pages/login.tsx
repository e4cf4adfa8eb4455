import type { AuthError } from '@sallyport/client'
import { takeReturnPath, useAuth } from '@sallyport/react'
import { type FormEvent, useEffect, useRef, useState } from 'react'
import { Link, useLocation } from 'wouter'
import { useHistoryState } from 'wouter/use-browser-location'
import { mayRegister } from '../client.ts'
import { Card } from '../parts/card.tsx'
import { EmailField, PasswordField } from '../parts/fields.tsx'
import { Notice } from '../parts/states.tsx'
import { explain, explainSignOut } from '../words.ts'

export function LoginPage() {
  const { status, signOut, login } = useAuth()
  const [, navigate] = useLocation()
  const [error, setError] = useState<unknown>()
  const [busy, setBusy] = useState(false)
  const formElement = useRef<HTMLFormElement>(null)
  /** What a page that led here has to say. */
  const notice = useHistoryState<{ notice?: string } | null>()?.notice
  const why = signOut && explainSignOut(signOut)

  // Also when the user signed in in another tab.
  useEffect(() => {
    if (status === 'signed-in') navigate(takeReturnPath(), { replace: true })
  }, [status, navigate])

  async function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault()
    const form = new FormData(event.currentTarget)
    setBusy(true)
    setError(undefined)
    try {
      await login({ email: String(form.get('email')).trim(), password: String(form.get('password')) })
    } catch (failure) {
      setError(failure)
      setBusy(false)
      formElement.current?.querySelector<HTMLInputElement>('#current-password')?.select()
    }
  }

  return (
    <Card title="Sign in">
      {error ? (
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
      <form onSubmit={submit} ref={formElement}>
        <EmailField autoComplete="username" autoFocus />
        <PasswordField label="Password" id="current-password" name="password" autoComplete="current-password" />
        <button type="submit" className="primary wide" disabled={busy}>
          {busy ? 'Signing in…' : 'Sign in'}
        </button>
      </form>
      <p className="links">
        <Link href="/forgot-password">Forgot password?</Link>
        {mayRegister && <Link href="/register">Create account</Link>}
      </p>
    </Card>
  )
}
