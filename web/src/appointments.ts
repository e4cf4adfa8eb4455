import { useAuth } from '@sallyport/react'
import { useQuery } from '@tanstack/react-query'
import { api } from './api.ts'

/** The appointments that this user gives, or else has. */
export function useAppointments() {
  const { roles } = useAuth()
  const gives = roles.includes('doctor') || roles.includes('admin')
  const { data, error, refetch } = useQuery({
    queryKey: ['appointments', gives],
    queryFn: gives ? api.given : api.had,
  })
  const appointments = data?.appointments
  const now = Date.now()
  const isUpcoming = ({ status, startsAt }: { status: string; startsAt: string }) =>
    status === 'scheduled' && Date.parse(startsAt) > now
  return {
    gives,
    /** Undefined until they are there. */
    appointments,
    upcoming: appointments?.filter(isUpcoming) ?? [],
    past: appointments?.filter((appointment) => !isUpcoming(appointment)).reverse() ?? [],
    error,
    refetch: () => void refetch(),
  }
}
