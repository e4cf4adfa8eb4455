import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { requireIdentity } from '@sallyport/identity/node'
import { createVerifier } from '@sallyport/verify'
import { hash, verify } from 'argon2'
import { createRemoteJWKSet, jwtVerify } from 'jose'

/** A service that finds out who is calling, in the way that CHECK names, and says so. */
const { CHECK, ISSUER, AUDIENCE, JWKS, REVOCATIONS, REVOCATIONS_SECRET, IDENTITY_PUBLIC_KEY, PASSWORD, PORT } =
  process.env as Record<string, string>
const issuer = ISSUER as string
const audience = AUDIENCE as string

/** Who it is; a guard that finds nobody has responded already. */
type Check = (request: IncomingMessage, response: ServerResponse) => string | undefined | Promise<string | undefined>
const checks: Record<string, () => Check | Promise<Check>> = {
  nothing: () => () => 'somebody',
  password: async () => {
    const stored = await hash(PASSWORD as string, { memoryCost: 19_456, timeCost: 2, parallelism: 1 })
    return async () => ((await verify(stored, PASSWORD as string)) ? 'somebody' : undefined)
  },
  /** What the gateway signed. */
  assertion: () => {
    const trust = { verify: true, publicKeys: [IDENTITY_PUBLIC_KEY], audience } as const
    const identityOf = requireIdentity(trust)
    return (request, response) => identityOf(request, response)?.userId
  },
  verify: () => {
    const revocations = { url: REVOCATIONS as string, secret: REVOCATIONS_SECRET as string }
    const verifier = createVerifier({ issuer, audience, jwks: JWKS as string, revocations })
    return async ({ headers }) => (await verifier.authenticate(headers.authorization)).userId
  },
  jose: () => {
    const keys = createRemoteJWKSet(new URL(JWKS as string))
    return async ({ headers }) => {
      const token = headers.authorization?.slice('Bearer '.length) ?? ''
      return (await jwtVerify(token, keys, { issuer, audience, typ: 'at+jwt' })).payload.sub
    }
  },
}

const check = await (checks[CHECK as string] as () => Check | Promise<Check>)()
createServer(async (request, response) => {
  try {
    const hello = await check(request, response)
    if (hello) response.setHeader('content-type', 'application/json').end(JSON.stringify({ hello }))
  } catch {
    response.writeHead(401).end()
  }
}).listen(Number(PORT), '127.0.0.1', () => process.send?.('listening'))
process.once('disconnect', () => process.exit())
