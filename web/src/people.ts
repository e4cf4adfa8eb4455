import { useAuth } from '@sallyport/react'
import { useQuery } from '@tanstack/react-query'
import { api } from './api.ts'
import { account } from './client.ts'

/** The name of the signed-in user, as it is now; the one at the sign-in, or the e-mail address, until that is known. */
export function useName(): string {
  const { user } = useAuth()
  const { data } = useQuery({ queryKey: ['me'], queryFn: account.getAccount, enabled: user !== null })
  return data?.name ?? user?.name ?? user?.email ?? ''
}

/** Names by id, of users whose ids came with other data. */
export function useNames(ids: string[]): (id: string) => string {
  const wanted = [...new Set(ids)].sort().slice(0, 100)
  const { data } = useQuery({
    queryKey: ['people', wanted],
    queryFn: () => api.people(wanted),
    enabled: wanted.length > 0,
    // Names seldom change: those that are known are not fetched anew.
    refetchOnMount: true,
    placeholderData: (before) => before,
  })
  return (id) => data?.people.find((person) => person.id === id)?.name ?? '…'
}
