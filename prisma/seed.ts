import { hash } from 'argon2'
import type { Database } from './database.ts'

export interface DemoUser {
  email: string
  name: string
  roles: string[]
}

/** Made by `npm start` and by tests; no deployment has them. */
export const demoUsers: DemoUser[] = [
  { email: 'admin@example.com', name: 'Ada Admin', roles: ['admin'] },
  { email: 'doctor@example.com', name: 'Dora Doctor', roles: ['doctor'] },
  { email: 'patient@example.com', name: 'Pat Patient', roles: ['patient'] },
]
export const demoPassword = 'correct-horse-battery-staple'

/** Makes the demo users and a few appointments, all of it or nothing, unless they are there already. */
export async function seed(database: Database): Promise<void> {
  if ((await database.user.count({ where: { email: { in: demoUsers.map(({ email }) => email) } } })) > 0) return
  const passwordHash = await hash(demoPassword, { memoryCost: 19_456, timeCost: 2, parallelism: 1 })
  const today = new Date()
  const inDays = (days: number, hour: number) =>
    new Date(Date.UTC(today.getUTCFullYear(), today.getUTCMonth(), today.getUTCDate() + days, hour))
  const appointments = [
    { startsAt: inDays(1, 9), reason: 'Yearly check-up' },
    { startsAt: inDays(2, 14), reason: 'Blood pressure follow-up' },
    { startsAt: inDays(-7, 10), reason: 'Sore throat', status: 'completed' as const },
  ]
  await database.$transaction(async (transaction) => {
    const users = await transaction.user.createManyAndReturn({
      data: demoUsers.map((user) => ({ ...user, passwordHash })),
    })
    const idOf = (role: string) => users.find(({ roles }) => roles.includes(role))?.id as string
    const people = { doctorId: idOf('doctor'), patientId: idOf('patient') }
    await transaction.appointment.createMany({
      data: appointments.map((appointment) => ({ ...appointment, ...people })),
    })
  })
}
