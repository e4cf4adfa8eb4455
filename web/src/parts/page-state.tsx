import type { AuthError } from '@sallyport/client'
import { Link } from 'wouter'
import { Empty, Failure, Loading } from './states.tsx'

interface PageStateProps {
  error: Error | null
  onRetry: () => void
  /** What it is a page of, and the code of the auth service for one that there is not. */
  unknown: { title: string; code: string; back: { href: string; label: string } }
}

/** What a page of one thing shows as long as it does not have it: that there is none, why it failed, or that it loads. */
export function PageState({ error, onRetry, unknown: { title, code, back } }: PageStateProps) {
  if (!error) return <Loading />
  // An id that is none is refused as a value.
  if (![code, 'REQUEST_INVALID'].includes((error as AuthError).code)) return <Failure error={error} onRetry={onRetry} />
  return (
    <Empty title={title} isPage>
      <Link href={back.href} className="button">
        {back.label}
      </Link>
    </Empty>
  )
}
