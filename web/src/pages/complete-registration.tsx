import { Link } from 'wouter'
import { OpenAccountForm } from '../account-forms.tsx'
import { MailLink } from '../parts/mail-link.tsx'

export function CompleteRegistrationPage() {
  return (
    <MailLink
      title="Create account"
      purpose="registration"
      another={
        <>
          <Link href="/register">Ask for another mail</Link>, or <Link href="/login">sign in</Link> if you have an
          account.
        </>
      }
    >
      {(ticket, email) => <OpenAccountForm email={email} proof={{ ticket }} />}
    </MailLink>
  )
}

export function AcceptInvitationPage() {
  return (
    <MailLink
      title="Accept the invitation"
      purpose="invitation"
      another={
        <>
          Whoever invited you can send another; or <Link href="/login">sign in</Link> if you have an account.
        </>
      }
    >
      {(ticket, email) => <OpenAccountForm email={email} proof={{ ticket }} />}
    </MailLink>
  )
}
