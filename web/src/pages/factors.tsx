import type { FactorsState } from '@sallyport/client'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { Link } from 'wouter'
import { useHistoryState } from 'wouter/use-browser-location'
import { factors } from '../client.ts'
import { Confirm } from '../parts/confirm.tsx'
import { useRecoveryCodes } from '../parts/recovery-codes.tsx'
import { Section } from '../parts/section.tsx'
import { Failure, Loading, Notice } from '../parts/states.tsx'
import { useToast } from '../parts/toasts.tsx'
import { PasskeysSection } from '../passkeys-section.tsx'
import { TotpDialog } from '../totp-dialog.tsx'

/** What the user signs in with beside the password. */
export function FactorsPage() {
  const { data, error, refetch } = useQuery({ queryKey: ['factors'], queryFn: factors.getFactors })
  /** What a page that led here has to say. */
  const notice = useHistoryState<{ notice?: string } | null>()?.notice
  return (
    <>
      <header className="page-head">
        <div>
          <p className="eyebrow">
            <Link href="/account">Account</Link>
          </p>
          <h1>Sign-in methods</h1>
          <p>With one of these, a password that somebody else knows is not enough</p>
        </div>
      </header>
      {notice && <Notice tone="info">{notice}</Notice>}
      {data ? (
        <div className="sections">
          <PasskeysSection {...data} />
          <Totp {...data} />
          <RecoveryCodes {...data} />
        </div>
      ) : error ? (
        <Failure error={error} onRetry={() => void refetch()} />
      ) : (
        <Loading />
      )}
    </>
  )
}

function Totp({ totp }: FactorsState) {
  const queries = useQueryClient()
  const tell = useToast()
  const [isRemoving, setRemoving] = useState(false)
  const start = useMutation({ mutationFn: factors.startTotp })
  const removal = useMutation({
    mutationFn: factors.removeTotp,
    onSuccess: async () => {
      tell('The authenticator app was removed.')
      setRemoving(false)
      await queries.invalidateQueries({ queryKey: ['factors'] })
    },
  })
  return (
    <Section
      title="Authenticator app"
      hint={
        totp
          ? 'An app shows the code that you type after your password.'
          : 'An app on your phone shows a code, which you type after your password.'
      }
    >
      {totp ? (
        <>
          <p className="state">It is set up.</p>
          <button
            type="button"
            className="danger"
            onClick={() => {
              removal.reset()
              setRemoving(true)
            }}
          >
            Remove the app
          </button>
        </>
      ) : (
        <>
          {start.error && <Failure error={start.error} />}
          <button type="button" disabled={start.isPending} onClick={() => start.mutate()}>
            {start.isPending ? 'One moment…' : 'Set up an app'}
          </button>
        </>
      )}
      {start.data && <TotpDialog {...start.data} onClose={start.reset} />}
      {isRemoving && (
        <Confirm
          title="Remove the authenticator app?"
          label="Remove the app"
          isPending={removal.isPending}
          error={removal.error}
          onConfirm={() => removal.mutate()}
          onClose={() => setRemoving(false)}
        >
          Its codes no longer sign you in. If you have no passkey either, your password alone does from then on.
        </Confirm>
      )}
    </Section>
  )
}

function RecoveryCodes({ totp, passkeys, recoveryCodesLeft: left }: FactorsState) {
  const queries = useQueryClient()
  const showRecoveryCodes = useRecoveryCodes()
  const [isOpen, setOpen] = useState(false)
  const { mutate, isPending, error, reset } = useMutation({
    mutationFn: factors.createRecoveryCodes,
    onSuccess: async ({ recoveryCodes }) => {
      setOpen(false)
      showRecoveryCodes(recoveryCodes)
      await queries.invalidateQueries({ queryKey: ['factors'] })
    },
  })
  if (!totp && passkeys.length === 0)
    return (
      <Section title="Recovery codes" hint="For when you lose your phone or your passkey.">
        <p className="hint">You get ten with your first passkey or app.</p>
      </Section>
    )
  return (
    <Section title="Recovery codes" hint="For when you lose your phone or your passkey. Each signs you in once.">
      {left <= 3 ? (
        <Notice tone="warn">{left === 0 ? 'None is left.' : `Only ${left} left.`} Make new ones.</Notice>
      ) : (
        <p className="state">{left} are left.</p>
      )}
      <button
        type="button"
        onClick={() => {
          reset()
          setOpen(true)
        }}
      >
        Make ten new codes
      </button>
      {isOpen && (
        <Confirm
          title="Make ten new recovery codes?"
          label="Make new codes"
          isPending={isPending}
          error={error}
          onConfirm={() => mutate()}
          onClose={() => setOpen(false)}
        >
          All codes that you have now are void at once, on paper and wherever else you keep them.
        </Confirm>
      )}
    </Section>
  )
}
