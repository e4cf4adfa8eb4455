import type { AccountDetails, FactorsState } from '@sallyport/client'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { type FormEvent, useState } from 'react'
import { Link, useLocation } from 'wouter'
import { languageOf, languages } from '../account-forms.tsx'
import { account, factors } from '../client.ts'
import { Confirm } from '../parts/confirm.tsx'
import { EmailField, NameField } from '../parts/fields.tsx'
import { saveFile } from '../parts/save-file.ts'
import { Section } from '../parts/section.tsx'
import { Failure, Loading, Notice } from '../parts/states.tsx'
import { useToast } from '../parts/toasts.tsx'
import { PasswordDialog } from '../password-dialog.tsx'
import { formatMoment } from '../times.ts'

export function AccountPage() {
  const { data, error, refetch } = useQuery({ queryKey: ['me'], queryFn: account.getAccount })
  return (
    <>
      <header className="page-head">
        <div>
          <h1>Account</h1>
          <p>Who you are, and how you sign in</p>
        </div>
      </header>
      {data ? (
        <div className="sections">
          <Profile key={`${data.name} ${data.locale}`} {...data} />
          <Email {...data} />
          <Password />
          <SecondStep />
          <Data />
          <Deletion />
        </div>
      ) : error ? (
        <Failure error={error} onRetry={() => void refetch()} />
      ) : (
        <Loading />
      )}
    </>
  )
}

/** The fields of a form by name, instead of the page that a browser would load. */
const fieldsOf = (event: FormEvent<HTMLFormElement>) => {
  event.preventDefault()
  return Object.fromEntries(new FormData(event.currentTarget)) as Record<string, string>
}

function Profile({ name, locale }: AccountDetails) {
  const queries = useQueryClient()
  const tell = useToast()
  const { mutate, isPending, error } = useMutation({
    mutationFn: account.updateAccount,
    onSuccess: (changed) => {
      queries.setQueryData(['me'], changed)
      tell('Your profile is saved.')
    },
  })
  return (
    <Section title="Profile" hint="Your name, and the language of mails to you.">
      <form
        onSubmit={(event) => {
          const { name = '', language = '' } = fieldsOf(event)
          mutate({ name, ...(language !== languageOf(locale) && { locale: language }) })
        }}
      >
        {error && <Failure error={error} />}
        <NameField defaultValue={name} />
        <label className="field">
          <span>Language of mails</span>
          <select name="language" defaultValue={languageOf(locale)}>
            {Object.entries(languages).map(([language, name]) => (
              <option key={language} value={language} lang={language}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <button type="submit" className="primary" disabled={isPending}>
          {isPending ? 'Saving…' : 'Save profile'}
        </button>
      </form>
    </Section>
  )
}

function Email({ email }: AccountDetails) {
  const { mutate, isPending, error, data, variables } = useMutation({
    mutationFn: (change: { email: string }) => account.changeEmail(change).then(() => true),
  })
  return (
    <Section
      title="E-mail"
      hint={
        <>
          You sign in with <strong>{email}</strong>. Another address takes its place once you confirm it by mail.
        </>
      }
    >
      <form onSubmit={(event) => mutate({ email: (fieldsOf(event).email ?? '').trim() })}>
        {error && <Failure error={error} />}
        {data && (
          <Notice tone="info">
            A mail is on its way to {variables?.email}, if that address can be used. Open its link to confirm.
          </Notice>
        )}
        <EmailField label="New e-mail" autoComplete="email" />
        <button type="submit" disabled={isPending}>
          {isPending ? 'One moment…' : 'Change e-mail'}
        </button>
      </form>
    </Section>
  )
}

function Password() {
  const [isOpen, setOpen] = useState(false)
  return (
    <Section
      title="Password and sessions"
      hint={
        <>
          A new password ends every other session. <Link href="/sessions">Where you are signed in</Link>
        </>
      }
    >
      <button type="button" onClick={() => setOpen(true)}>
        Change password
      </button>
      {isOpen && <PasswordDialog onClose={() => setOpen(false)} />}
    </Section>
  )
}

function SecondStep() {
  const { data } = useQuery({ queryKey: ['factors'], queryFn: factors.getFactors })
  return (
    <Section title="Two-step sign-in" hint={data && describeFactors(data)}>
      <Link href="/account/factors" className="button">
        Sign-in methods
      </Link>
    </Section>
  )
}

function describeFactors({ totp, passkeys: { length: count }, recoveryCodesLeft }: FactorsState): string {
  const names = [totp && 'an authenticator app', count > 0 && (count === 1 ? 'a passkey' : `${count} passkeys`)]
  const second = names.filter(Boolean).join(' and ')
  if (!second) return 'Off: whoever knows your password can sign in. A passkey or an authenticator app keeps them out.'
  return `On, with ${second}. ${recoveryCodesLeft} recovery ${recoveryCodesLeft === 1 ? 'code is' : 'codes are'} left.`
}

function Data() {
  const { mutate, isPending, error } = useMutation({
    mutationFn: account.exportAccount,
    onSuccess: (content) => saveFile('account.json', 'application/json', JSON.stringify(content, null, 2)),
  })
  return (
    <Section title="Your data" hint="All that is kept about you and your sessions, as a file of JSON.">
      {error && <Failure error={error} />}
      <button type="button" disabled={isPending} onClick={() => mutate()}>
        {isPending ? 'Fetching…' : 'Download my data'}
      </button>
    </Section>
  )
}

function Deletion() {
  const [isOpen, setOpen] = useState(false)
  const [, navigate] = useLocation()
  const { mutate, isPending, error, reset } = useMutation({
    mutationFn: account.deleteAccount,
    onSuccess: ({ deleteAfter }) => {
      const notice = `Your account will be deleted on ${formatMoment(deleteAfter)}. To keep it, sign in before then.`
      navigate('/login', { replace: true, state: { notice } })
    },
  })
  return (
    <Section title="Delete account" hint="It can be undone for a while, by signing in.">
      <button
        type="button"
        className="danger"
        onClick={() => {
          reset()
          setOpen(true)
        }}
      >
        Delete my account
      </button>
      {isOpen && (
        <Confirm
          title="Delete your account?"
          label="Delete my account"
          isPending={isPending}
          error={error}
          onConfirm={() => mutate()}
          onClose={() => setOpen(false)}
        >
          Every session ends now, this one too. Signing in brings the account back, until the day that you are shown
          next and that a mail says as well. After that day it is erased for good.
        </Confirm>
      )}
    </Section>
  )
}
