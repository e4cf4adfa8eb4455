import type { Database, User } from '@sallyport/database'
import Type, { type Static } from 'typebox'
import { hasFactor } from '../factors/owned.ts'
import { UserView, viewUser } from './user-view.ts'

export const UserDetails = Type.Object({
  ...UserView.properties,
  sessions: Type.Integer({ description: 'how many go on' }),
  lastSignInAt: Type.Union([Type.String(), Type.Null()]),
  secondFactor: Type.Boolean({ description: 'whether a password alone does not sign in' }),
  failures: Type.Integer({ description: 'how many wrong passwords came since a right one' }),
})

/** A user, and how they use the account. */
export async function detailsOf(database: Database, user: User): Promise<Static<typeof UserDetails>> {
  const [sessions, lastSignIn, wrong, secondFactor] = await Promise.all([
    database.session.count({ where: { userId: user.id, revokedAt: null, expiresAt: { gt: new Date() } } }),
    database.securityEvent.findFirst({
      where: { userId: user.id, event: 'login_succeeded' },
      orderBy: { at: 'desc' },
      select: { at: true },
    }),
    database.passwordFailures.aggregate({ where: { person: user.id }, _sum: { failures: true } }),
    hasFactor(database, user.id),
  ])
  const lastSignInAt = lastSignIn?.at.toISOString() ?? null
  return { ...viewUser(user), sessions, lastSignInAt, secondFactor, failures: wrong._sum.failures ?? 0 }
}
