import type { AuthError } from '@sallyport/client'
import { useMutation } from '@tanstack/react-query'
import { type FormEvent, type ReactNode, useRef } from 'react'
import { Failure } from './states.tsx'

interface Props {
  /** What the button says. */
  label: string
  /** Gets the fields by name. What it throws is shown. */
  action(fields: Record<string, string>): Promise<unknown>
  children?: ReactNode
}

/** A form that does one thing when its button is pressed. After an error the focus is on what can be corrected. */
export function ActionForm({ label, action, children }: Props) {
  const form = useRef<HTMLFormElement>(null)
  const { mutate, isPending, error } = useMutation({
    mutationFn: action,
    onError: (error) => {
      const isPassword = (error as AuthError).code.startsWith('PASSWORD')
      const field = isPassword ? '[type="password"], [name$="assword"]' : 'input:not([readonly]), button[type="submit"]'
      // Once the button can be pressed again.
      setTimeout(() => form.current?.querySelector<HTMLElement>(field)?.focus())
    },
  })
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    mutate(Object.fromEntries(new FormData(event.currentTarget)) as Record<string, string>)
  }
  return (
    <form onSubmit={submit} ref={form}>
      {error && <Failure error={error} />}
      {children}
      <button type="submit" className="primary wide" disabled={isPending}>
        {isPending ? 'One moment…' : label}
      </button>
    </form>
  )
}
