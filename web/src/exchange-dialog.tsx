import { useMutation, useQueryClient } from '@tanstack/react-query'
import type { FormEvent } from 'react'
import { type Exchange, type Machine, machines } from './machines.ts'
import { Dialog } from './parts/dialog.tsx'
import { Field } from './parts/fields.tsx'
import { Failure } from './parts/states.tsx'
import { useToast } from './parts/toasts.tsx'
import { WordsField, wordsOf } from './parts/words-field.tsx'

/** Lets a service account act for its callers at one audience. */
export function ExchangeDialog({ machine: { id, name }, onClose }: { machine: Machine; onClose: () => void }) {
  const queries = useQueryClient()
  const tell = useToast()
  const { mutate, isPending, error } = useMutation({
    mutationFn: (exchange: Omit<Exchange, 'id'>) => machines.addExchange(id, exchange),
    onSuccess: async ({ audience }) => {
      tell(`It may act for its callers at ${audience}.`)
      onClose()
      await queries.invalidateQueries({ queryKey: ['machines'] })
    },
  })
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    const form = new FormData(event.currentTarget)
    const word = (field: string) => String(form.get(field)).trim()
    mutate({
      from: word('from'),
      audience: word('audience'),
      roles: wordsOf(form, 'roles'),
      scopes: wordsOf(form, 'scopes'),
    })
  }
  const plain = { autoComplete: 'off', autoCapitalize: 'none', spellCheck: false, maxLength: 128 }
  const word = { pattern: '[!#-\\[\\]-~]+', title: 'One word' }
  return (
    <Dialog title="Let it act for its callers" onClose={onClose}>
      <form onSubmit={submit}>
        {error && <Failure error={error} />}
        <p className="hint">
          Whoever calls {name} is then known at the other service as themselves, with {name} acting for them.
        </p>
        <Field label="Where it is called (audience of its own routes)" name="from" {...plain} {...word} />
        <Field label="What it calls (audience)" name="audience" {...plain} {...word} />
        <WordsField
          label="Roles"
          name="roles"
          kind="roles"
          hint="Which of the caller's roles are carried over, if they have them."
        />
        <WordsField label="Scopes" name="scopes" kind="words" hint="All that it may ask for there." />
        <footer>
          <button type="button" onClick={onClose}>
            Back
          </button>
          <button type="submit" className="primary" disabled={isPending}>
            {isPending ? 'One moment…' : 'Allow'}
          </button>
        </footer>
      </form>
    </Dialog>
  )
}
