import { useAuth } from '@sallyport/react'
import { useQueries, useQuery } from '@tanstack/react-query'
import { api } from './api.ts'
import { account } from './client.ts'
import { machines } from './machines.ts'

/** The name of the signed-in user, as it is now; the one at the sign-in, or the e-mail address, until that is known. */
export function useName(): string {
  const { user } = useAuth()
  const { data } = useQuery({ queryKey: ['me'], queryFn: account.getAccount, enabled: user !== null })
  return data?.name ?? user?.name ?? user?.email ?? ''
}

/** Names by id, of users whose ids came with other data. */
export function useNames(ids: string[]): (id: string) => string {
  const wanted = [...new Set(ids)].sort().slice(0, 100)
  const { data, isPlaceholderData } = useQuery({
    queryKey: ['people', wanted],
    queryFn: () => api.people(wanted),
    enabled: wanted.length > 0,
    // Names seldom change: those that are known are not fetched anew.
    refetchOnMount: true,
    placeholderData: (before) => before,
  })
  const otherwise = data && !isPlaceholderData ? 'somebody who is gone' : '…'
  return (id) => data?.people.find((person) => person.id === id)?.name ?? otherwise
}

const prefix = 'client:'

/** Names by the subjects of tokens: users, and service accounts, which only admins may look at. */
export function useActorNames(subjects: string[]): (subject: string) => string {
  const isMachine = (subject: string) => subject.startsWith(prefix)
  const nameOf = useNames(subjects.filter((subject) => !isMachine(subject)))
  const wanted = [...new Set(subjects.filter(isMachine))]
  const found = useQueries({
    queries: wanted.map((subject) => {
      const id = subject.slice(prefix.length)
      return { queryKey: ['machines', id], queryFn: () => machines.get(id), refetchOnMount: true }
    }),
  })
  return (subject) => {
    if (!isMachine(subject)) return nameOf(subject)
    const { data, error } = found[wanted.indexOf(subject)] ?? {}
    return data?.name ?? (error ? 'a service account that is gone' : '…')
  }
}
