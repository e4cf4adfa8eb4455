import { Problem } from '@sallyport/chassis'

/** Those that the gateway takes. */
export const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const
export type Method = (typeof methods)[number]

export function isAllowed(method: string): boolean {
  return methods.includes(method as Method)
}

/** @param allowed those that there is something for at this path */
export function methodNotAllowed(allowed: readonly string[] = methods): Problem {
  return new Problem(405, 'METHOD_NOT_ALLOWED', 'The method is not allowed here', {
    headers: { allow: allowed.join(', ') },
  })
}
