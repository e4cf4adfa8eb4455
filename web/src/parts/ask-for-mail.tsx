import type { MailAsked, MailRequest } from '@sallyport/client'
import { type ReactNode, useState } from 'react'
import { languageOf } from '../account-forms.tsx'
import { ActionForm } from './action-form.tsx'
import { Card } from './card.tsx'
import { EmailField } from './fields.tsx'

interface Props {
  title: string
  /** What the mail is for. */
  children: ReactNode
  ask(request: MailRequest): Promise<MailAsked>
  /** The form for the code of the mail. */
  byCode(email: string, ticketId: string): ReactNode
  foot: ReactNode
}

/** Asks for a mail to an address, and then for its code, if its link is not opened here. */
export function AskForMail({ title, children, ask, byCode, foot }: Props) {
  const [asked, setAsked] = useState<{ email: string; ticketId: string }>()
  if (!asked)
    return (
      <Card title={title} foot={foot}>
        <p>{children}</p>
        <ActionForm
          label="Send the mail"
          action={async ({ email: typed = '' }) => {
            const email = typed.trim()
            const { ticketId } = await ask({ email, locale: languageOf(navigator.language) })
            setAsked({ email, ticketId })
          }}
        >
          <EmailField autoComplete="username" autoFocus />
        </ActionForm>
      </Card>
    )
  return (
    <Card title="Look in your mailbox" foot={foot}>
      <p>
        A mail is on its way to <strong>{asked.email}</strong>, if that address can be used. Open its link on this
        device, or type its code here within ten minutes.
      </p>
      {byCode(asked.email, asked.ticketId)}
      <button type="button" className="wide" onClick={() => setAsked(undefined)}>
        Send again, or to another address
      </button>
    </Card>
  )
}
