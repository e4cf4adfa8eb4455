import type { ReactNode } from 'react'
import { explain } from '../words.ts'
import { AlertIcon } from './icons.tsx'

/** What stands in a list's place until there is one. */
export function Loading({ rows = 3 }: { rows?: number }) {
  return (
    <div className="loading" role="status" aria-label="Loading">
      {Array.from({ length: rows }, (_, row) => (
        <div key={row} />
      ))}
    </div>
  )
}

/** What is shown where there is nothing to show: in a list's place, or as the whole page. */
export function Empty({ title, isPage = false, children }: { title: string; isPage?: boolean; children?: ReactNode }) {
  const Title = isPage ? 'h1' : 'p'
  return (
    <div className="empty">
      <Title className="empty-title">{title}</Title>
      {children}
    </div>
  )
}

export function Failure({ error, onRetry }: { error: unknown; onRetry?: () => void }) {
  return (
    <Notice tone="bad" action={onRetry && { label: 'Try again', run: onRetry }}>
      {explain(error)}
    </Notice>
  )
}

interface NoticeProps {
  tone: 'bad' | 'warn' | 'info'
  children: ReactNode
  action?: { label: string; run: () => void } | undefined
}

export function Notice({ tone, children, action }: NoticeProps) {
  return (
    <div className={`notice ${tone}`} role={tone === 'info' ? 'status' : 'alert'}>
      <AlertIcon />
      <p>{children}</p>
      {action && (
        <button type="button" className="small" onClick={action.run}>
          {action.label}
        </button>
      )}
    </div>
  )
}
