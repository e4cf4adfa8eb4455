import { useState } from 'react'
import { Link } from 'wouter'
import { account } from '../client.ts'
import { ActionForm } from '../parts/action-form.tsx'
import { Card } from '../parts/card.tsx'
import { MailLink } from '../parts/mail-link.tsx'

const another = (
  <>
    You change the address of your account on <Link href="/account">its page</Link>.
  </>
)

export function ConfirmEmailPage() {
  const [confirmed, setConfirmed] = useState<string>()
  if (confirmed)
    return (
      <Card title="The address is confirmed">
        <p>
          Sign in with <strong>{confirmed}</strong> from now on. The mail to the address before has a link that undoes
          it.
        </p>
        <Link href="/account" className="button wide">
          Go to your account
        </Link>
      </Card>
    )
  return (
    <MailLink title="Confirm your new address" purpose="email_change" another={another}>
      {(ticket, email) => (
        <>
          <p>
            <strong>{email}</strong> becomes the address of your account: you sign in with it, and get mails there.
          </p>
          <ActionForm
            label="Confirm this address"
            action={() => account.confirmEmail({ ticket }).then(() => setConfirmed(email))}
          />
        </>
      )}
    </MailLink>
  )
}

export function RevertEmailPage() {
  const [reverted, setReverted] = useState<string>()
  if (reverted)
    return (
      <Card title="The address is back">
        <p>
          <strong>{reverted}</strong> is the address of your account again, and every session has ended. If it was not
          you who changed it, somebody knows your password.
        </p>
        <Link href="/forgot-password" className="button wide">
          Choose a new password
        </Link>
      </Card>
    )
  return (
    <MailLink title="Bring your address back" purpose="email_revert" another={another}>
      {(ticket, email) => (
        <>
          <p>
            <strong>{email}</strong> becomes the address of your account again, and every session ends, on every device.
          </p>
          <ActionForm
            label="Bring this address back"
            action={() => account.revertEmail({ ticket }).then(() => setReverted(email))}
          />
        </>
      )}
    </MailLink>
  )
}
