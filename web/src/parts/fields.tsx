import { type FormEvent, type InputHTMLAttributes, useState } from 'react'
import { EyeIcon } from './icons.tsx'

type InputProps = InputHTMLAttributes<HTMLInputElement>

export function Field({ label, ...input }: InputProps & { label: string }) {
  return (
    <label className="field">
      <span>{label}</span>
      <input required {...input} />
    </label>
  )
}

export const EmailField = ({ label = 'E-mail', ...props }: InputProps & { label?: string }) => (
  <Field label={label} name="email" type="email" maxLength={254} inputMode="email" {...props} />
)

/** Whose account it is. A real field, so that password managers save the password for it and not for another. */
export const AccountField = ({ email }: { email: string }) => (
  <Field label="Account" name="username" type="email" autoComplete="username" value={email} readOnly />
)

export const NameField = (props: InputProps) => (
  <Field label="Name" name="name" autoComplete="name" maxLength={200} {...props} />
)

/** The 8 digits of a mail, for people who read it on another device. */
export const CodeField = () => (
  <Field
    label="Code from the mail"
    name="code"
    inputMode="numeric"
    autoComplete="one-time-code"
    pattern="[0-9 ]{8,9}"
    maxLength={9}
    title="8 digits"
    className="code"
  />
)

export const TotpField = (props: InputProps & { label?: string }) => (
  <Field
    label="Code from your authenticator app"
    name="code"
    inputMode="numeric"
    autoComplete="one-time-code"
    pattern="[0-9 ]{6,7}"
    maxLength={7}
    title="6 digits"
    className="code"
    {...props}
  />
)

export const RecoveryCodeField = (props: InputProps) => (
  <Field
    label="Recovery code"
    name="code"
    autoComplete="off"
    autoCapitalize="none"
    spellCheck={false}
    maxLength={60}
    {...props}
  />
)

export function PasswordField({ label, ...input }: InputProps & { label: string }) {
  const [shown, setShown] = useState(false)
  return (
    <div className="field">
      <label htmlFor={input.id}>{label}</label>
      <span className="with-button">
        <input required type={shown ? 'text' : 'password'} autoCapitalize="none" spellCheck={false} {...input} />
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
    </div>
  )
}

export const CurrentPasswordField = ({ label = 'Current password' }: { label?: string }) => (
  <PasswordField label={label} id="current-password" name="currentPassword" autoComplete="current-password" />
)

/** For password managers that make one (the `passwordrules` of Safari). */
const rules: object = { passwordrules: 'minlength: 15; maxlength: 1024; allowed: unicode;' }

/**
 * @param label says whether there was one before
 * @param shortest in characters; with a second factor it may be shorter
 */
export function NewPasswordField({ label = 'New password', shortest = 15 }: { label?: string; shortest?: number }) {
  return (
    <div className="field">
      <PasswordField
        label={label}
        id="new-password"
        name="newPassword"
        autoComplete="new-password"
        minLength={shortest}
        aria-describedby="new-password-hint"
        onInput={checkLength}
        {...rules}
      />
      <p className="hint" id="new-password-hint">
        At least {shortest} characters. A few words that only you put together are good.
      </p>
    </div>
  )
}

/** As the service counts: code points, after normalization, and not the halves of them that `minLength` counts. */
function checkLength({ currentTarget }: FormEvent<HTMLInputElement>) {
  const length = [...currentTarget.value.normalize('NFC')].length
  const { minLength } = currentTarget
  currentTarget.setCustomValidity(length < minLength || length > 1024 ? `Use ${minLength} to 1024 characters.` : '')
}
