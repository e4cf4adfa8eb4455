import { type ReactNode, useId, useLayoutEffect, useRef } from 'react'
import { CloseIcon } from './icons.tsx'

interface Props {
  title: string
  /** Without it, only what is inside ends the dialog. */
  onClose?: (() => void) | undefined
  children: ReactNode
}

/** A modal dialog for as long as it is rendered. The browser keeps the focus in it and gives it back. */
export function Dialog({ title, onClose, children }: Props) {
  const element = useRef<HTMLDialogElement>(null)
  const heading = useId()
  // In the layout phase: only a dialog that is still in the page gives the focus back.
  useLayoutEffect(() => {
    const dialog = element.current
    dialog?.showModal()
    // Not the button that closes it, which comes first, nor what only says whose it is.
    dialog?.querySelector<HTMLElement>('input:not([readonly]), select, textarea, footer button')?.focus()
    return () => dialog?.close()
  }, [])
  return (
    <dialog
      ref={element}
      className="dialog"
      aria-labelledby={heading}
      // Chromium lets nobody prevent that Escape, pressed twice, closes a dialog that does not say so.
      closedby={onClose ? 'closerequest' : 'none'}
      onCancel={(event) => {
        event.preventDefault()
        onClose?.()
      }}
    >
      <header>
        <h2 id={heading}>{title}</h2>
        {onClose && (
          <button type="button" className="quiet square" aria-label="Close" onClick={onClose}>
            <CloseIcon />
          </button>
        )}
      </header>
      {children}
    </dialog>
  )
}
