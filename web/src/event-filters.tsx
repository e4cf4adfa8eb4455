import { useQuery } from '@tanstack/react-query'
import { useId, useState } from 'react'
import type { EventFilter } from './admin.ts'
import { api } from './api.ts'
import { eventGroups, nameEvent } from './event-names.ts'
import { machines } from './machines.ts'
import { CloseIcon } from './parts/icons.tsx'
import { useSettled } from './parts/use-settled.ts'
import { useNames } from './people.ts'
import { toInput } from './times.ts'

interface Props {
  filter: EventFilter
  /** Gets what is other than before. */
  onChange(changes: EventFilter): void
  onClear(): void
}

/** Which events are shown. */
export function EventFilters({ filter, onChange, onClear }: Props) {
  const count = Object.keys(filter).length
  // On a phone it would be all that there is to see.
  const [isOpen, setOpen] = useState(() => matchMedia('(min-width: 721px)').matches)
  return (
    <details className="card filter-card" open={isOpen} onToggle={({ currentTarget: { open } }) => setOpen(open)}>
      <summary>Filter{count > 0 && ` (${count})`}</summary>
      <div className="filter">
        <PersonField user={filter.user} onChange={(user) => onChange({ user })} />
        <EventField event={filter.event} onChange={(event) => onChange({ event })} />
        <MachineField client={filter.client} onChange={(client) => onChange({ client })} />
        <TimeField label="From" time={filter.from} onChange={(from) => onChange({ from })} />
        <TimeField label="Until" time={filter.to} onChange={(to) => onChange({ to })} />
        {count > 0 && (
          <button type="button" className="small" onClick={onClear}>
            Clear
          </button>
        )}
      </div>
    </details>
  )
}

interface PersonProps {
  user: string | undefined
  onChange(user: string | undefined): void
}

/** A person, found by a part of the address. */
function PersonField({ user, onChange }: PersonProps) {
  const id = useId()
  const [text, setText] = useState('')
  const email = useSettled(text.trim())
  const { data } = useQuery({
    queryKey: ['users', 'lookup', email],
    queryFn: () => api.users(email, null),
    enabled: email !== '' && user === undefined,
    placeholderData: (before) => before,
  })
  const nameOf = useNames(user === undefined ? [] : [user])
  const choose = (chosen: string | undefined) => {
    setText('')
    onChange(chosen)
  }
  if (user !== undefined)
    return (
      <div className="field">
        <span>Person</span>
        <p className="chosen">
          <span>{nameOf(user)}</span>
          <button type="button" className="quiet square" aria-label="Of everybody" onClick={() => choose(undefined)}>
            <CloseIcon />
          </button>
        </p>
      </div>
    )
  const found = email === '' ? undefined : data?.users.slice(0, 5)
  return (
    <div className="field">
      <label htmlFor={id}>Person</label>
      <input
        id={id}
        type="search"
        placeholder="Everybody"
        aria-describedby={`${id}-found`}
        autoComplete="off"
        autoCapitalize="none"
        spellCheck={false}
        maxLength={254}
        value={text}
        onChange={(event) => setText(event.target.value)}
      />
      <div className="found" id={`${id}-found`} role="status">
        {found?.length === 0 && <p className="hint">No address has “{email}” in it.</p>}
        {found && found.length > 0 && (
          <ul>
            {found.map((person) => (
              <li key={person.id}>
                <button type="button" className="quiet" onClick={() => choose(person.id)}>
                  {person.email}
                </button>
              </li>
            ))}
          </ul>
        )}
      </div>
    </div>
  )
}

interface ChoiceProps {
  onChange(value: string | undefined): void
}

function EventField({ event, onChange }: ChoiceProps & { event: string | undefined }) {
  const id = useId()
  const isKnown = Object.values(eventGroups).some((group) => group.includes(event ?? ''))
  return (
    <div className="field">
      <label htmlFor={id}>Event</label>
      <select id={id} value={event ?? ''} onChange={({ target }) => onChange(target.value || undefined)}>
        <option value="">Any</option>
        {event && !isKnown && <option value={event}>{nameEvent(event)}</option>}
        {Object.entries(eventGroups).map(([group, events]) => (
          <optgroup key={group} label={group}>
            {events.map((name) => (
              <option key={name} value={name}>
                {nameEvent(name)}
              </option>
            ))}
          </optgroup>
        ))}
      </select>
    </div>
  )
}

function MachineField({ client, onChange }: ChoiceProps & { client: string | undefined }) {
  const { data } = useQuery({ queryKey: ['machines', 'all'], queryFn: () => machines.list(null, 100) })
  const id = useId()
  const isKnown = data?.clients.some((machine) => machine.id === client)
  return (
    <div className="field">
      <label htmlFor={id}>Service account</label>
      <select id={id} value={client ?? ''} onChange={({ target }) => onChange(target.value || undefined)}>
        <option value="">Any, or none</option>
        {client && !isKnown && <option value={client}>{client}</option>}
        {data?.clients.map(({ id, name }) => (
          <option key={id} value={id}>
            {name}
          </option>
        ))}
      </select>
    </div>
  )
}

interface TimeProps {
  label: string
  time: string | undefined
  onChange(time: string | undefined): void
}

function TimeField({ label, time, onChange }: TimeProps) {
  const date = time === undefined ? undefined : new Date(time)
  return (
    <label className="field">
      <span>{label}</span>
      <input
        type="datetime-local"
        value={date && !Number.isNaN(date.getTime()) ? toInput(date) : ''}
        onChange={({ target }) => onChange(target.value ? new Date(target.value).toISOString() : undefined)}
      />
    </label>
  )
}
