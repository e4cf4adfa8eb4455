import { readAccessToken } from '@sallyport/client'
import { useAuth } from '@sallyport/react'
import { useMutation } from '@tanstack/react-query'
import { useEffect, useState } from 'react'
import { RefreshIcon } from '../parts/icons.tsx'
import { Failure, Loading } from '../parts/states.tsx'
import { useNow } from '../parts/use-now.ts'
import { formatMoment, formatSeconds, formatSpan } from '../times.ts'

/** What the claims of an access token mean (RFC 9068), in the order they are shown. */
const meanings = {
  sub: 'who you are',
  email: 'your e-mail address',
  role: 'your main role',
  roles: 'everything you may be',
  sid: 'your session, the same until you sign out',
  jti: 'this token, another with each refresh',
  iat: 'when it was issued',
  exp: 'when it expires',
  iss: 'who issued it',
  aud: 'who it is for',
  client_id: 'the app it was issued to',
  act: 'who acts for this person',
}

export function TokenPage() {
  const { client, expiresAt, actor } = useAuth()
  const token = client.getAccessToken()
  const claims = token === null ? undefined : readAccessToken(token)
  return (
    <>
      <header className="page-head">
        <div>
          <h1>Access token</h1>
          <p>What services learn of you. The token itself is not shown, and stays out of the page.</p>
        </div>
      </header>
      {!claims ? (
        <Loading rows={5} />
      ) : (
        <div className={actor ? undefined : 'token'}>
          {/* What somebody acts by is not refreshed, and the banner says how long it lasts. */}
          {!actor && <Countdown issuedFor={(claims.exp - claims.iat) * 1000} expiresAt={expiresAt ?? 0} />}
          <section className="card">
            <header>
              <h2>Claims</h2>
            </header>
            <dl className="claims">
              {Object.entries(meanings)
                .filter(([claim]) => claim in claims)
                .map(([claim, meaning]) => (
                  <div key={claim}>
                    <dt>
                      <code>{claim}</code>
                      <span>{meaning}</span>
                    </dt>
                    <dd>{show(claim, claims[claim as keyof typeof claims])}</dd>
                  </div>
                ))}
            </dl>
          </section>
        </div>
      )}
    </>
  )
}

function show(claim: string, value: unknown): string {
  if (claim === 'iat' || claim === 'exp') return `${value} (${formatMoment(Number(value) * 1000)})`
  if (claim === 'act') return JSON.stringify(value)
  return Array.isArray(value) ? value.join(', ') : String(value)
}

function Countdown({ issuedFor, expiresAt }: { issuedFor: number; expiresAt: number }) {
  const { client, refreshAt } = useAuth()
  const now = useNow()
  const refreshes = useRefreshes()
  const { mutate, isPending, error } = useMutation({ mutationFn: () => client.refresh() })
  const untilRefresh = (refreshAt ?? now) - now
  const left = Math.min(1, Math.max(0, (expiresAt - now) / issuedFor))
  return (
    <section className="card countdown">
      <div className="ring">
        <svg viewBox="0 0 120 120" aria-hidden="true">
          <circle cx="60" cy="60" r="52" pathLength="1" />
          <circle cx="60" cy="60" r="52" pathLength="1" className="left" strokeDasharray={`${left} 1`} />
        </svg>
        <p>
          <strong role="timer" aria-label="Until the next refresh">
            {formatSpan(untilRefresh)}
          </strong>
          <span>to the next refresh</span>
        </p>
      </div>
      <p className="hint">It expires in {formatSpan(expiresAt - now)}. One tab refreshes for all of them.</p>
      {error && <Failure error={error} />}
      <button type="button" disabled={isPending} onClick={() => mutate()}>
        <RefreshIcon />
        Refresh now
      </button>
      {refreshes.length > 0 && (
        <div className="refreshes">
          <h3>Refreshes since this page opened</h3>
          <ol>
            {refreshes.map((at) => (
              <li key={at}>{formatSeconds(at)}</li>
            ))}
          </ol>
        </div>
      )}
    </section>
  )
}

/** When there was a new token, the last first: from here or from another tab. */
function useRefreshes(): number[] {
  const [refreshes, setRefreshes] = useState<number[]>([])
  useEffect(() => {
    const add = () => setRefreshes((before) => [Date.now(), ...before].slice(0, 6))
    addEventListener('tokenRefreshed', add)
    return () => removeEventListener('tokenRefreshed', add)
  }, [])
  return refreshes
}
