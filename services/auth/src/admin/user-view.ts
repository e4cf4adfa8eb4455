import type { User } from '@sallyport/database'
import Type, { type Static } from 'typebox'
import { noPassword } from '../passwords/stored-hash.ts'

/** A user as admins see them. */
export const UserView = Type.Object({
  id: Type.String(),
  name: Type.String(),
  email: Type.String(),
  role: Type.String(),
  roles: Type.Array(Type.String()),
  locale: Type.Union([Type.String(), Type.Null()], { description: 'the language of mails; null is English' }),
  disabled: Type.Boolean(),
  hasPassword: Type.Boolean({ description: 'false until one is chosen for an account that an admin made' }),
  deleteAfter: Type.Union([Type.String(), Type.Null()], { description: 'when the account is to be erased' }),
  createdAt: Type.String(),
})

export function viewUser(user: User): Static<typeof UserView> {
  const { id, name, email, roles, locale } = user
  return {
    ...{ id, name, email, roles, locale },
    role: roles[0] as string,
    disabled: user.disabledAt !== null,
    hasPassword: user.passwordHash !== noPassword,
    deleteAfter: user.deleteAfter?.toISOString() ?? null,
    createdAt: user.createdAt.toISOString(),
  }
}
