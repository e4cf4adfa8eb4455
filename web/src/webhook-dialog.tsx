import { useMutation, useQueryClient } from '@tanstack/react-query'
import { type FormEvent, useState } from 'react'
import { Shown } from './credential-dialog.tsx'
import { Dialog } from './parts/dialog.tsx'
import { Field } from './parts/fields.tsx'
import { Failure, Notice } from './parts/states.tsx'
import { useToast } from './parts/toasts.tsx'
import { eventTypes, type Webhook, type WebhookFields, webhooks } from './webhooks.ts'

interface Props {
  webhook?: Webhook
  /** Gets the secret of a new one. */
  onMade?: (made: Webhook & { secret: string }) => void
  onClose: () => void
}

/** Makes a webhook, or changes one. */
export function WebhookDialog({ webhook, onMade, onClose }: Props) {
  const queries = useQueryClient()
  const tell = useToast()
  const [events, setEvents] = useState(webhook?.events ?? [])
  const { mutate, isPending, error } = useMutation({
    mutationFn: (fields: WebhookFields) => (webhook ? webhooks.change(webhook.id, fields) : webhooks.make(fields)),
    onSuccess: async (saved) => {
      onClose()
      if ('secret' in saved) onMade?.(saved as Webhook & { secret: string })
      else tell(`${saved.name} is changed.`)
      await queries.invalidateQueries({ queryKey: ['webhooks'] })
    },
  })
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    const form = new FormData(event.currentTarget)
    const word = (name: string) => String(form.get(name)).trim()
    mutate({ name: word('name'), url: word('url'), events })
  }
  const choose = (type: string, isChosen: boolean) =>
    setEvents(eventTypes.filter((other) => (other === type ? isChosen : events.includes(other))))
  return (
    <Dialog title={webhook ? 'Change the webhook' : 'Make a webhook'} onClose={onClose}>
      <form onSubmit={submit}>
        {error && <Failure error={error} />}
        <Field
          label="Name"
          name="name"
          autoComplete="off"
          maxLength={100}
          pattern=".*\S.*"
          defaultValue={webhook?.name}
        />
        <Field
          label="Address"
          name="url"
          type="url"
          autoComplete="off"
          spellCheck={false}
          maxLength={2_048}
          placeholder="https://"
          defaultValue={webhook?.url}
        />
        <fieldset className="event-types">
          <legend>What it is notified of</legend>
          {eventTypes.map((type) => (
            <label key={type}>
              <input
                type="checkbox"
                checked={events.includes(type)}
                onChange={({ target }) => choose(type, target.checked)}
              />
              <code>{type}</code>
            </label>
          ))}
        </fieldset>
        <footer>
          <button type="button" onClick={onClose}>
            Back
          </button>
          <button type="submit" className="primary" disabled={isPending || events.length === 0}>
            {isPending ? 'One moment…' : webhook ? 'Save' : 'Make'}
          </button>
        </footer>
      </form>
    </Dialog>
  )
}

/** What verifies deliveries, shown once. It is in this page's memory until it is said to be saved. */
export function SecretDialog({ secret, onSaved }: { secret: string; onSaved: () => void }) {
  return (
    <Dialog title="Save the secret">
      <Notice tone="warn">
        It is shown only now, and nobody can show it again. The receiver verifies with it what comes. If it is lost,
        make a new one.
      </Notice>
      <dl className="once">
        <Shown name="Secret" value={secret} />
      </dl>
      <footer>
        <button type="button" className="primary" onClick={onSaved}>
          I have saved it
        </button>
      </footer>
    </Dialog>
  )
}
