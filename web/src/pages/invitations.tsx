import { useInfiniteQuery, useMutation, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { admin, type Invitation } from '../admin.ts'
import { Confirm } from '../parts/confirm.tsx'
import { MailIcon } from '../parts/icons.tsx'
import { Empty, Failure, Loading } from '../parts/states.tsx'
import { useToast } from '../parts/toasts.tsx'
import { UsersHead } from '../parts/users-head.tsx'
import { useNames } from '../people.ts'
import { formatMoment } from '../times.ts'

export function InvitationsPage() {
  const [leaving, setLeaving] = useState<Invitation>()
  const { data, error, hasNextPage, isFetchingNextPage, fetchNextPage, refetch } = useInfiniteQuery({
    queryKey: ['invitations'],
    queryFn: ({ pageParam }) => admin.invitations(pageParam),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.nextCursor,
  })
  const invitations = data?.pages.flatMap((page) => page.invitations)
  const nameOf = useNames((invitations ?? []).flatMap(({ invitedBy }) => invitedBy ?? []))
  return (
    <>
      <UsersHead />
      {error && !invitations ? (
        <Failure error={error} onRetry={() => void refetch()} />
      ) : !invitations ? (
        <Loading rows={4} />
      ) : invitations.length === 0 ? (
        <Empty title="Nobody is invited">
          <p>Who is invited gets a mail, and chooses a name and a password.</p>
        </Empty>
      ) : (
        <ul className="card rows">
          {invitations.map((invitation) => (
            <InvitationRow
              key={invitation.id}
              invitation={invitation}
              by={invitation.invitedBy ? nameOf(invitation.invitedBy) : '…'}
              onWithdraw={() => setLeaving(invitation)}
            />
          ))}
        </ul>
      )}
      {hasNextPage && (
        <button type="button" className="more" disabled={isFetchingNextPage} onClick={() => void fetchNextPage()}>
          {isFetchingNextPage ? 'Loading…' : 'Show more'}
        </button>
      )}
      {leaving && <Withdraw invitation={leaving} onClose={() => setLeaving(undefined)} />}
    </>
  )
}

const states = { open: 'Open', expired: 'Expired', accepted: 'Accepted', withdrawn: 'Withdrawn' }
const stateStyles = { open: 'chip', expired: 'chip cancelled', accepted: 'chip scheduled', withdrawn: 'chip' }

interface RowProps {
  invitation: Invitation
  by: string
  onWithdraw(): void
}

function InvitationRow({ invitation, by, onWithdraw }: RowProps) {
  const { id, email, roles, state, createdAt } = invitation
  const queries = useQueryClient()
  const tell = useToast()
  const { mutate, isPending, error } = useMutation({
    mutationFn: () => admin.resendInvitation(id),
    onSuccess: () => tell(`Another mail to ${email} is on its way.`),
    onSettled: () => queries.invalidateQueries({ queryKey: ['invitations'] }),
  })
  const isOver = state === 'accepted' || state === 'withdrawn'
  return (
    <li className={`row user${state === 'withdrawn' ? ' faded' : ''}`}>
      <span className="device">
        <MailIcon />
      </span>
      <div className="row-main">
        <strong>{email}</strong>
        <span>
          As {roles.join(', ')}, by {by} on {formatMoment(createdAt)}
        </span>
        <span>{describeEnd(invitation)}</span>
        {error && <Failure error={error} />}
      </div>
      <div className="chips">
        <span className={stateStyles[state]}>{states[state]}</span>
      </div>
      {!isOver && (
        <fieldset className="actions" aria-label={email}>
          <button type="button" className="small" disabled={isPending} onClick={() => mutate()}>
            Send again
          </button>
          <button type="button" className="small" onClick={onWithdraw}>
            Withdraw
          </button>
        </fieldset>
      )}
    </li>
  )
}

function describeEnd({ state, expiresAt, endedAt }: Invitation): string {
  if (endedAt) return `${states[state]} on ${formatMoment(endedAt)}`
  return `${state === 'open' ? 'Works until' : 'Expired on'} ${formatMoment(expiresAt)}`
}

function Withdraw({ invitation: { id, email }, onClose }: { invitation: Invitation; onClose: () => void }) {
  const queries = useQueryClient()
  const tell = useToast()
  const { mutate, isPending, error } = useMutation({
    mutationFn: () => admin.withdrawInvitation(id),
    onSuccess: async () => {
      tell(`The invitation of ${email} is withdrawn.`)
      onClose()
      await queries.invalidateQueries({ queryKey: ['invitations'] })
      // The button that had the focus has gone.
      document.getElementById('main')?.focus()
    },
  })
  return (
    <Confirm
      title={`Withdraw the invitation of ${email}?`}
      label="Withdraw"
      isPending={isPending}
      error={error}
      onConfirm={() => mutate()}
      onClose={onClose}
    >
      The link in the mail works no more. You can invite them again.
    </Confirm>
  )
}
