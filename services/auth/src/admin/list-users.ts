import type { Database, Prisma, User } from '@sallyport/database'
import { partsOf } from '@sallyport/identity'
import { pageOf } from './fields.ts'

interface UserFilter {
  /** A part of the e-mail address. */
  email?: string | undefined
  role?: string | undefined
  disabled?: boolean | undefined
  /** `nextCursor` of the page before. */
  cursor?: string | undefined
}

/** Finds the users that all of a filter fits, page by page in the order of their ids. */
export async function listUsers(
  database: Database,
  { email, role, disabled, cursor }: UserFilter,
  size: number,
): Promise<{ users: User[]; nextCursor: string | null }> {
  const where: Prisma.UserWhereInput[] = [
    email === undefined ? {} : { OR: partsOf(email).map((part) => ({ email: { contains: literally(part) } })) },
    role === undefined ? {} : { roles: { has: role } },
    disabled ? { disabledAt: { not: null } } : {},
    cursor === undefined ? {} : { id: { gt: cursor } },
  ]
  const found = await database.user.findMany({ where: { AND: where }, orderBy: { id: 'asc' }, take: size + 1 })
  const { rows: users, nextCursor } = pageOf(found, size)
  return { users, nextCursor }
}

/** Prisma makes a pattern of LIKE of what is to be contained, and leaves in it what means something there. */
const literally = (text: string) => text.replace(/[\\%_]/g, '\\$&')
