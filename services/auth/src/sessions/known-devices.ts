import { randomBytes, timingSafeEqual } from 'node:crypto'
import type { CookieSerializeOptions } from '@fastify/cookie'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { DerivedKeys } from '../tokens/derived-keys.ts'

/** Seconds that a device stays known to a user who does not sign in there: as long as browsers keep a cookie (RFC 6265bis). */
export const knownFor = 400 * 86_400

/** How many users a device is known to at most: the one who was there longest ago is forgotten. */
const mostUsers = 10

/** No cookie of ours is longer; nothing longer is worth a hash. */
const longest = 2_048

interface Device {
  id: string
  /** Who signed in there, the last one first: user id, version of the password, and when, in seconds since 1970. */
  users: [id: string, passwordVersion: number, at: number][]
}

/** A user, and how often the password was changed: an attacker who knew an earlier one has no known device any more. */
interface User {
  id: string
  passwordVersion: number
}

export interface KnownDevices {
  /**
   * @returns the id of the device, if it is known to the user: they signed in there, or chose their password there, and
   *   it has not been changed since. A cookie that is missing, forged or expired is none.
   */
  find(request: FastifyRequest, user: User): string | undefined
  /** @returns the id of the device, if any user has signed in there */
  idOf(request: FastifyRequest): string | undefined
  /** Makes the device known to a user who has just proved there who they are. */
  remember(request: FastifyRequest, reply: FastifyReply, user: User): void
}

/**
 * Which browsers a user has signed in with, as a signed cookie says: it lets nobody in, but guesses from elsewhere do not
 * count there (passwords/throttle.ts). A logout leaves it. No page can write it in production, by its prefix `__Host-`.
 */
export function createKnownDevices({ production }: { production: boolean }, keys: DerivedKeys): KnownDevices {
  const cookieName = production ? '__Host-device' : 'device'
  const attributes: CookieSerializeOptions = {
    httpOnly: true,
    secure: production,
    sameSite: 'lax',
    path: '/',
    maxAge: knownFor,
  }

  function read(request: FastifyRequest): Device | undefined {
    const cookie = (request.cookies[cookieName] ?? '').slice(0, longest)
    const [payload, signature = ''] = cookie.split('.') as [string, string?]
    const given = Buffer.from(signature, 'base64url')
    const isOurs = keys
      .digests('devices', payload)
      .some((digest) => digest.length === given.length && timingSafeEqual(digest, given))
    return isOurs ? JSON.parse(Buffer.from(payload, 'base64url').toString()) : undefined
  }

  return {
    find(request, user) {
      const device = read(request)
      const since = now() - knownFor
      const isKnown = device?.users.some(
        ([id, version, at]) => id === user.id && version === user.passwordVersion && at > since,
      )
      return isKnown ? device?.id : undefined
    },
    idOf: (request) => read(request)?.id,
    remember(request, reply, { id, passwordVersion }) {
      const device = read(request)
      const others = device?.users.filter(([other]) => other !== id) ?? []
      const remembered: Device = {
        id: device?.id ?? randomBytes(16).toString('base64url'),
        users: [[id, passwordVersion, now()], ...others.slice(0, mostUsers - 1)] as Device['users'],
      }
      const payload = Buffer.from(JSON.stringify(remembered)).toString('base64url')
      const [signature] = keys.digests('devices', payload)
      reply.setCookie(cookieName, `${payload}.${signature.toString('base64url')}`, attributes)
    },
  }
}

const now = () => Math.floor(Date.now() / 1000)
