import type { ReactNode } from 'react'
import { Dialog } from './dialog.tsx'
import { Failure } from './states.tsx'

interface Props {
  title: string
  /** What the button says. */
  label: string
  isPending: boolean
  error: unknown
  onConfirm(): void
  onClose(): void
  children: ReactNode
}

/** Asks before something that cannot be taken back. */
export function Confirm({ title, label, isPending, error, onConfirm, onClose, children }: Props) {
  return (
    <Dialog title={title} onClose={onClose}>
      {error != null && <Failure error={error} />}
      <p>{children}</p>
      <footer>
        <button type="button" onClick={onClose}>
          Back
        </button>
        <button type="button" className="danger" disabled={isPending} onClick={onConfirm}>
          {label}
        </button>
      </footer>
    </Dialog>
  )
}
