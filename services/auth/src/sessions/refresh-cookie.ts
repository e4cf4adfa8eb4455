import type { CookieSerializeOptions } from '@fastify/cookie'
import type { FastifyReply, FastifyRequest } from 'fastify'

interface Settings {
  production: boolean
}

/**
 * The refresh cookie. In production its name has the prefix `__Host-`, with which browsers refuse to take it over
 * plain HTTP, for another path or from a sibling host.
 */
const nameOf = ({ production }: Settings) => (production ? '__Host-refreshToken' : 'refreshToken')

const attributes = ({ production }: Settings): CookieSerializeOptions => ({
  httpOnly: true,
  secure: production,
  sameSite: 'lax',
  path: '/',
})

export function readRefreshCookie(request: FastifyRequest, settings: Settings): string | undefined {
  return request.cookies[nameOf(settings)] || undefined
}

/** @param expiresAt when the session ends if it stays idle, in seconds since 1970 */
export function setRefreshCookie(reply: FastifyReply, settings: Settings, token: string, expiresAt: number): void {
  const maxAge = Math.max(0, expiresAt - Math.floor(Date.now() / 1000))
  reply.setCookie(nameOf(settings), token, { ...attributes(settings), maxAge })
}

export function clearRefreshCookie(reply: FastifyReply, settings: Settings): void {
  reply.clearCookie(nameOf(settings), attributes(settings))
}
