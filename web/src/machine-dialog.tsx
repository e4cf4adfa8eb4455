import { useMutation, useQueryClient } from '@tanstack/react-query'
import type { FormEvent } from 'react'
import { useLocation } from 'wouter'
import { type Machine, type MachineFields, machines } from './machines.ts'
import { Dialog } from './parts/dialog.tsx'
import { Field } from './parts/fields.tsx'
import { Failure } from './parts/states.tsx'
import { useToast } from './parts/toasts.tsx'
import { WordsField, wordsOf } from './parts/words-field.tsx'

/** Makes a service account, or changes one. */
export function MachineDialog({ machine, onClose }: { machine?: Machine; onClose: () => void }) {
  const queries = useQueryClient()
  const tell = useToast()
  const [, navigate] = useLocation()
  const { mutate, isPending, error } = useMutation({
    mutationFn: (fields: MachineFields) => (machine ? machines.change(machine.id, fields) : machines.make(fields)),
    onSuccess: async ({ id, name }) => {
      tell(machine ? `${name} is changed, from its next request on.` : `${name} is made.`)
      onClose()
      if (!machine) navigate(`/admin/machines/${id}`)
      await queries.invalidateQueries({ queryKey: ['machines'] })
    },
  })
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    const form = new FormData(event.currentTarget)
    mutate({
      name: String(form.get('name')).trim(),
      roles: wordsOf(form, 'roles'),
      scopes: wordsOf(form, 'scopes'),
      audiences: wordsOf(form, 'audiences'),
    })
  }
  return (
    <Dialog title={machine ? 'Change the service account' : 'Make a service account'} onClose={onClose}>
      <form onSubmit={submit}>
        {error && <Failure error={error} />}
        <Field
          label="Name"
          name="name"
          autoComplete="off"
          maxLength={100}
          pattern=".*\S.*"
          defaultValue={machine?.name}
        />
        <WordsField
          label="Roles"
          name="roles"
          kind="roles"
          hint="With spaces between them. The first is the main one; there may be none."
          words={machine?.roles ?? []}
        />
        <WordsField
          label="Scopes"
          name="scopes"
          kind="words"
          hint="What its tokens may be good for, such as appointments:read. Without any it reaches no route that asks for one."
          words={machine?.scopes ?? []}
        />
        <WordsField
          label="Audiences"
          name="audiences"
          kind="words"
          hint={
            machine
              ? 'What its tokens may be for: the whole API, or the routes of one audience.'
              : 'What its tokens may be for, such as the audience of some routes. Left empty: the whole API.'
          }
          words={machine?.audiences ?? []}
          required={machine !== undefined}
        />
        <footer>
          <button type="button" onClick={onClose}>
            Back
          </button>
          <button type="submit" className="primary" disabled={isPending}>
            {isPending ? 'One moment…' : machine ? 'Save' : 'Make'}
          </button>
        </footer>
      </form>
    </Dialog>
  )
}
