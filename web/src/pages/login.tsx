import { takeReturnPath, useAuth } from '@sallyport/react'
import { type FormEvent, useEffect, useRef, useState } from 'react'
import { useLocation } from 'wouter'
import { EyeIcon } from '../parts/icons.tsx'
import { Logo } from '../parts/logo.tsx'
import { Failure, Notice } from '../parts/states.tsx'
import { ThemeToggle } from '../parts/theme.tsx'
import { explainSignOut } from '../words.ts'

export function LoginPage() {
  const { status, signOut, login } = useAuth()
  const [, navigate] = useLocation()
  const [error, setError] = useState<unknown>()
  const [busy, setBusy] = useState(false)
  const [shown, setShown] = useState(false)
  const password = useRef<HTMLInputElement>(null)
  const why = signOut && explainSignOut(signOut)

  useEffect(() => {
    document.title = 'Sign in · Sallyport'
  }, [])
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
      password.current?.select()
    }
  }

  return (
    <main className="login">
      <div className="login-card">
        <header>
          <Logo />
          <ThemeToggle />
        </header>
        <h1>Sign in</h1>
        {error ? <Failure error={error} /> : why && <Notice tone="warn">{why}</Notice>}
        <form onSubmit={submit}>
          <label className="field">
            <span>E-mail</span>
            <input
              name="email"
              type="email"
              autoComplete="username"
              required
              maxLength={254}
              // biome-ignore lint/a11y/noAutofocus: there is nothing else to do on this page
              autoFocus
            />
          </label>
          <label className="field">
            <span>Password</span>
            <span className="with-button">
              <input
                ref={password}
                name="password"
                type={shown ? 'text' : 'password'}
                autoComplete="current-password"
                required
              />
              <button
                type="button"
                className="quiet square"
                aria-label="Show the password"
                aria-pressed={shown}
                onClick={() => setShown(!shown)}
              >
                <EyeIcon />
              </button>
            </span>
          </label>
          <button type="submit" className="primary wide" disabled={busy}>
            {busy ? 'Signing in…' : 'Sign in'}
          </button>
        </form>
      </div>
      <p className="login-foot">Sallyport: a token system for microservices</p>
    </main>
  )
}
