import type { AuthError, TicketCheck } from '@sallyport/client'
import { useQuery } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import { account } from '../client.ts'
import { useTicket } from '../ticket.ts'
import { Card } from './card.tsx'
import { Failure, Loading } from './states.tsx'

interface Props {
  title: string
  purpose: TicketCheck['purpose']
  /** Where another such mail comes from. */
  another: ReactNode
  children(ticket: string, email: string): ReactNode
}

/**
 * The page that the link of a mail leads to. It looks whom the link is for, which changes nothing, and leaves everything
 * else to a button: programs open the links of mails and run what is there.
 */
export function MailLink({ title, purpose, another, children }: Props) {
  const ticket = useTicket()
  const { data, error, refetch } = useQuery({
    queryKey: ['ticket', ticket],
    queryFn: () => account.checkTicket({ ticket: ticket as string }),
    enabled: ticket !== undefined,
    refetchOnWindowFocus: false,
    refetchOnReconnect: false,
  })
  if (ticket === undefined)
    return (
      <Card title="Open the link once more">
        <p>
          This page needs the whole link of your mail, which is gone after a reload. Open it once more from the mail.
        </p>
        <p>{another}</p>
      </Card>
    )
  if ((error as AuthError | null)?.code === 'TICKET_INVALID' || (data && data.purpose !== purpose))
    return (
      <Card title="This link is no longer valid">
        <p>It was used before, has expired, or a newer mail has taken its place.</p>
        <p>{another}</p>
      </Card>
    )
  return (
    <Card title={title}>
      {data ? (
        children(ticket, data.email)
      ) : error ? (
        <Failure error={error} onRetry={() => void refetch()} />
      ) : (
        <Loading rows={2} />
      )}
    </Card>
  )
}
