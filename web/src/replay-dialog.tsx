import { useMutation, useQueryClient } from '@tanstack/react-query'
import type { FormEvent } from 'react'
import { Dialog } from './parts/dialog.tsx'
import { Field } from './parts/fields.tsx'
import { Failure } from './parts/states.tsx'
import { useToast } from './parts/toasts.tsx'
import { toInput } from './times.ts'
import { type Span, webhooks } from './webhooks.ts'

/** Sends once more what happened in a span of time. */
export function ReplayDialog({ id, onClose }: { id: string; onClose: () => void }) {
  const queries = useQueryClient()
  const tell = useToast()
  const { mutate, isPending, error } = useMutation({
    mutationFn: (span: Span) => webhooks.replaySpan(id, span),
    onSuccess: async ({ replayed }) => {
      tell(replayed === 1 ? 'One delivery is sent once more.' : `${replayed} deliveries are sent once more.`)
      onClose()
      await queries.invalidateQueries({ queryKey: ['webhooks', id] })
    },
  })
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    const form = new FormData(event.currentTarget)
    const time = (name: string) => new Date(String(form.get(name))).toISOString()
    mutate({ from: time('from'), to: time('to'), ...(form.has('dead') && { state: 'dead' as const }) })
  }
  const now = Date.now()
  return (
    <Dialog title="Replay a span of time" onClose={onClose}>
      <form onSubmit={submit}>
        {error && <Failure error={error} />}
        <p className="hint">Each comes with the id that it had, so that a receiver knows what it has seen already.</p>
        <Field label="From" name="from" type="datetime-local" defaultValue={toInput(new Date(now - 86_400_000))} />
        <Field label="To" name="to" type="datetime-local" defaultValue={toInput(new Date(now + 60_000))} />
        <label className="choice">
          <input type="checkbox" name="dead" defaultChecked />
          Only what was given up
        </label>
        <footer>
          <button type="button" onClick={onClose}>
            Back
          </button>
          <button type="submit" className="primary" disabled={isPending}>
            Replay
          </button>
        </footer>
      </form>
    </Dialog>
  )
}
