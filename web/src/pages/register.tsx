import { Link } from 'wouter'
import { OpenAccountForm } from '../account-forms.tsx'
import { account } from '../client.ts'
import { AskForMail } from '../parts/ask-for-mail.tsx'

export function RegisterPage() {
  return (
    <AskForMail
      title="Create account"
      ask={account.register}
      byCode={(email, ticketId) => <OpenAccountForm email={email} proof={{ ticketId }} />}
      foot={
        <>
          You have an account? <Link href="/login">Sign in</Link>
        </>
      }
    >
      You get a mail first, to show that the address is yours. You choose a password then.
    </AskForMail>
  )
}
