import { Link } from 'wouter'
import { NewPasswordForm } from '../account-forms.tsx'
import { account } from '../client.ts'
import { AskForMail } from '../parts/ask-for-mail.tsx'

export function ForgotPasswordPage() {
  return (
    <AskForMail
      title="Forgot your password?"
      ask={account.forgotPassword}
      byCode={(email, ticketId) => <NewPasswordForm email={email} proof={{ ticketId }} />}
      foot={
        <>
          You know it again? <Link href="/login">Sign in</Link>
        </>
      }
    >
      You get a mail with which you choose a new one.
    </AskForMail>
  )
}
