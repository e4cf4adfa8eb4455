import { useAuth } from '@sallyport/react'
import { useLocation } from 'wouter'
import { AlertIcon } from './parts/icons.tsx'
import { useNow } from './parts/use-now.ts'
import { formatSpan } from './times.ts'

/** On top of every page for as long as somebody acts for somebody else, and there is no way to have it away but to stop. */
export function ActingBanner() {
  const { actor } = useAuth()
  return actor && <Banner actor={actor.name ?? actor.email} />
}

function Banner({ actor }: { actor: string }) {
  const { user, expiresAt, stopActing } = useAuth()
  const [, navigate] = useLocation()
  const now = useNow()
  const stop = () => {
    void stopActing?.()
    navigate(`/users/${user?.id}`)
  }
  return (
    <section className="acting" aria-label="Acting for somebody">
      <AlertIcon />
      <p>
        <strong>Acting as {user?.name ?? user?.email}</strong>
        <span>
          <span className="acting-actor">You are {actor}</span>
          <span role="timer" aria-label="Until it ends">
            {formatSpan((expiresAt ?? now) - now)} left
          </span>
        </span>
      </p>
      <button type="button" className="small" onClick={stop}>
        Stop
      </button>
    </section>
  )
}
