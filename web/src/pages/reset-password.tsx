import { Link } from 'wouter'
import { NewPasswordForm } from '../account-forms.tsx'
import { MailLink } from '../parts/mail-link.tsx'

export function ResetPasswordPage() {
  return (
    <MailLink
      title="Choose a new password"
      purpose="password_reset"
      another={<Link href="/forgot-password">Ask for another mail</Link>}
    >
      {(ticket, email) => (
        <>
          <p>Every session ends, on every device.</p>
          <NewPasswordForm email={email} proof={{ ticket }} />
        </>
      )}
    </MailLink>
  )
}
