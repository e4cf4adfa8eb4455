import { Problem } from '@sallyport/chassis'
import { mostRoles, rolePattern } from '@sallyport/identity'
import type { Guard } from '@sallyport/identity/fastify'
import type { preHandlerAsyncHookHandler } from 'fastify'
import Type from 'typebox'

/** What the routes for admins share. */

export interface AdminGuards {
  admin: Guard
  /** Comes after it, where something is changed. */
  fully: preHandlerAsyncHookHandler
}

export const Id = Type.Object({ id: Type.String({ format: 'uuid' }) })

/** Some roles, the main one first. */
export const Roles = Type.Array(Type.String({ pattern: rolePattern }), {
  minItems: 1,
  maxItems: mostRoles,
  uniqueItems: true,
})

export const Limit = Type.String({ pattern: '^([1-9]\\d?|100)$', description: '1 to 100; 20 if not given' })
export const cursorDescription = '`nextCursor` of the page before'

/** @param found one more than fit on the page, if there are as many */
export function pageOf<Row extends { id: string | bigint }>(
  found: Row[],
  size: number,
): { rows: Row[]; nextCursor: string | null } {
  const rows = found.slice(0, size)
  return { rows, nextCursor: found.length > size ? String(rows[size - 1]?.id) : null }
}

export const unknownUser = () => new Problem(404, 'USER_NOT_FOUND', 'There is no such user')

export const userExists = () =>
  new Problem(409, 'USER_EXISTS', 'The address has an account', { detail: 'Look for it among the users.' })

export const lastAdmin = () =>
  new Problem(409, 'LAST_ADMIN', 'This is the last admin', {
    detail: 'Make somebody else an admin first, or nobody could.',
  })
