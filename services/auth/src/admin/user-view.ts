import type { User } from '@sallyport/database'
import Type, { type Static } from 'typebox'
import { Me, viewMe } from '../accounts/me.ts'
import { noPassword } from '../passwords/stored-hash.ts'

/** A user as admins see them: what users see of themselves, and more. */
export const UserView = Type.Object({
  ...Me.properties,
  disabled: Type.Boolean(),
  hasPassword: Type.Boolean({ description: 'false until one is chosen for an account that an admin made' }),
  deleteAfter: Type.Union([Type.String(), Type.Null()], { description: 'when the account is to be erased' }),
  createdAt: Type.String(),
})

export function viewUser(user: User): Static<typeof UserView> {
  return {
    ...viewMe(user),
    disabled: user.disabledAt !== null,
    hasPassword: user.passwordHash !== noPassword,
    deleteAfter: user.deleteAfter?.toISOString() ?? null,
    createdAt: user.createdAt.toISOString(),
  }
}
