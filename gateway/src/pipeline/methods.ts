import { Problem } from '@sallyport/chassis'
import type { HTTPMethods } from 'fastify'

export const methods: HTTPMethods[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']

export function isAllowed(method: string): boolean {
  return methods.includes(method as HTTPMethods)
}

export function methodNotAllowed(): Problem {
  return new Problem(405, 'METHOD_NOT_ALLOWED', 'The method is not allowed here', {
    headers: { allow: methods.join(', ') },
  })
}
