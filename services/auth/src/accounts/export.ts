import type { Database } from '@sallyport/database'
import Type, { type Static } from 'typebox'
import { Act } from '../events/security-events.ts'
import { PasskeyView, viewPasskey } from '../factors/passkeys.ts'

const Text = Type.Union([Type.String(), Type.Null()])

export const AccountExport = Type.Object(
  {
    user: Type.Object({
      id: Type.String(),
      email: Type.String(),
      name: Type.String(),
      roles: Type.Array(Type.String()),
      locale: Text,
      createdAt: Type.String(),
      disabledAt: Text,
      deleteAfter: Text,
    }),
    sessions: Type.Array(
      Type.Object({
        id: Type.String(),
        createdAt: Type.String(),
        authenticatedAt: Text,
        amr: Type.Array(Type.String()),
        lastUsedAt: Type.String(),
        expiresAt: Type.String(),
        endedAt: Text,
        reason: Text,
        userAgent: Text,
        ip: Text,
        actorId: Type.Union([Type.String(), Type.Null()], { description: 'who signed in as me, if it was not me' }),
        actorReason: Type.Union([Type.String(), Type.Null()], { description: 'why' }),
      }),
    ),
    factors: Type.Object({
      totp: Type.Union([Type.Object({ createdAt: Type.String() }), Type.Null()]),
      passkeys: Type.Array(
        Type.Object({
          ...PasskeyView.properties,
          backupEligible: Type.Boolean(),
          transports: Type.Array(Type.String()),
        }),
      ),
      recoveryCodesLeft: Type.Integer(),
      begun: Type.Array(
        Type.Object({
          purpose: Type.String(),
          tries: Type.Integer(),
          createdAt: Type.String(),
          expiresAt: Type.String(),
        }),
        { description: 'what is to be finished within minutes' },
      ),
    }),
    securityEvents: Type.Array(
      Type.Object({
        at: Type.String(),
        event: Type.String(),
        sessionId: Text,
        ip: Text,
        reason: Text,
        clientId: Text,
        act: Type.Union([Act, Type.Null()]),
      }),
    ),
    passwordFailures: Type.Array(
      Type.Object({ device: Type.String(), failures: Type.Integer(), opensAt: Text, lastAt: Type.String() }),
    ),
    tickets: Type.Array(
      Type.Object({
        purpose: Type.String(),
        email: Type.String(),
        createdAt: Type.String(),
        expiresAt: Type.String(),
        usedAt: Text,
        withdrawn: Type.Boolean({ description: 'whether it was ended and not used' }),
      }),
    ),
  },
  { description: 'All of it, but for what would let somebody sign in' },
)

/** Everything that the auth service keeps about a user, for that user (docs/privacy.md). @returns null if there is none */
export async function exportAccount(database: Database, id: string): Promise<Static<typeof AccountExport> | null> {
  const user = await database.user.findUnique({
    where: { id },
    include: { sessions: { orderBy: { createdAt: 'asc' } } },
  })
  if (!user) return null
  const where = { userId: id }
  const totp = await database.totp.findUnique({ where })
  const passkeys = await database.passkey.findMany({ where, orderBy: { createdAt: 'asc' } })
  const recoveryCodesLeft = await database.recoveryCode.count({ where })
  const begun = await database.challenge.findMany({ where, orderBy: { createdAt: 'asc' } })
  const sessionIds = user.sessions.map((session) => session.id)
  const impersonations = await database.impersonation.findMany({ where: { sessionId: { in: sessionIds } } })
  const acting = new Map(impersonations.map((impersonation) => [impersonation.sessionId, impersonation]))
  const { email, name, roles, locale } = user
  const events = await database.securityEvent.findMany({ where: { userId: id }, orderBy: { id: 'asc' } })
  const failures = await database.passwordFailures.findMany({ where: { person: id }, orderBy: { lastAt: 'asc' } })
  const tickets = await database.ticket.findMany({
    where: { OR: [{ userId: id }, { email }] },
    orderBy: { createdAt: 'asc' },
  })
  return {
    user: {
      ...{ id, email, name, roles, locale },
      createdAt: user.createdAt.toISOString(),
      disabledAt: text(user.disabledAt),
      deleteAfter: text(user.deleteAfter),
    },
    sessions: user.sessions.map((session) => ({
      id: session.id,
      createdAt: session.createdAt.toISOString(),
      authenticatedAt: text(session.authenticatedAt),
      amr: session.amr,
      lastUsedAt: session.rotatedAt.toISOString(),
      expiresAt: session.expiresAt.toISOString(),
      endedAt: text(session.revokedAt),
      reason: session.revokedReason,
      userAgent: session.userAgent,
      ip: session.ip,
      actorId: acting.get(session.id)?.actorId ?? null,
      actorReason: acting.get(session.id)?.reason ?? null,
    })),
    factors: {
      totp: totp && { createdAt: totp.createdAt.toISOString() },
      passkeys: passkeys.map((passkey) => ({
        ...viewPasskey(passkey),
        backupEligible: passkey.backupEligible,
        transports: passkey.transports,
      })),
      recoveryCodesLeft,
      begun: begun.map(({ purpose, tries, createdAt, expiresAt }) => ({
        ...{ purpose, tries },
        createdAt: createdAt.toISOString(),
        expiresAt: expiresAt.toISOString(),
      })),
    },
    securityEvents: events.map(({ at, event, sessionId, ip, reason, clientId, act }) => ({
      ...{ event, sessionId, ip, reason, clientId, act: act as Static<typeof Act> | null },
      at: at.toISOString(),
    })),
    passwordFailures: failures.map(({ device, failures, opensAt, lastAt }) => ({
      ...{ device, failures },
      opensAt: text(opensAt),
      lastAt: lastAt.toISOString(),
    })),
    tickets: tickets.map(({ purpose, email, createdAt, expiresAt, usedAt, withdrawn }) => ({
      ...{ purpose, email, withdrawn },
      createdAt: createdAt.toISOString(),
      expiresAt: expiresAt.toISOString(),
      usedAt: text(usedAt),
    })),
  }
}

const text = (at: Date | null) => at?.toISOString() ?? null
