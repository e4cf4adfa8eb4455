import type { Identity } from '@sallyport/identity'

/** A change of an appointment, as the appointments service announces it. */
export interface Change {
  change: string
  appointment: { id: string; doctorId: string; patientId: string }
}

interface Listener {
  identity: Identity
  send: (change: Change) => void
  end: () => void
}

export type Audience = ReturnType<typeof createAudience>

/** Who is connected, and which changes concern whom: the doctor and the patient of an appointment, and admins. */
export function createAudience() {
  const listeners = new Set<Listener>()
  return {
    /** @returns how to leave */
    join(listener: Listener): () => void {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    tell(change: Change): void {
      const { doctorId, patientId } = change.appointment
      for (const { identity, send } of listeners)
        if ([doctorId, patientId].includes(identity.userId) || identity.roles.includes('admin')) send(change)
    },
    /** Ends every connection: this process is closing. */
    dismiss(): void {
      for (const { end } of listeners) end()
    },
  }
}
