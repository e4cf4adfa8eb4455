import { createBackOff } from './back-off.ts'
import { type ClientCredential, createClientAuthentication } from './client-authentication.ts'
import { ServiceClientError } from './service-client-error.ts'
import type { IssuedToken } from './token-source.ts'
import { unlessAborted } from './unless-aborted.ts'

/** Where tokens are issued, and to whom. */
export type TokenEndpointOptions = ClientCredential & {
  tokenEndpoint: URL
  clientId: string
  issuer: string | undefined
  fetch: typeof fetch
}

/** Milliseconds from a request for a token to its end, the metadata of the server included. */
const timeout = 5_000

/** Octets of a response; a token is no longer than a header may be. */
const largest = 64 * 1024

/** No token is kept longer, in seconds, whatever the endpoint says. */
const longest = 24 * 60 * 60

/** RFC 6750 section 2.1. */
const bearerToken = /^[\w\-.~+/]{1,16384}=*$/

/** The codes of RFC 6749, RFC 8693 and their like. In other words of the endpoint anything may stand. */
const errorCode = /^[a-z_]{1,64}$/

/**
 * Makes what asks a token endpoint (RFC 6749 section 3.2) for tokens, and leaves it alone for a while after it did not
 * answer or did not know us. It follows no redirect: what is sent there is for it alone.
 *
 * @returns what throws ServiceClientError unless it has a token
 */
export function createTokenEndpoint({ tokenEndpoint, clientId, issuer, fetch, ...credential }: TokenEndpointOptions) {
  const backOff = createBackOff(concernsAll)
  let metadata: Promise<string> | undefined

  /** RFC 8414. Read once; what could not be read is read again by the next. */
  async function readIssuer(signal: AbortSignal): Promise<string> {
    if (issuer !== undefined) return issuer
    metadata ??= fetchIssuer(signal).catch((error) => {
      metadata = undefined
      throw error
    })
    return metadata
  }

  async function fetchIssuer(signal: AbortSignal): Promise<string> {
    const response = await fetch(new URL('/.well-known/oauth-authorization-server', tokenEndpoint), {
      redirect: 'manual',
      signal,
    })
    const { issuer } = await readResponse(response, 'the metadata of the authorization server')
    if (!response.ok || typeof issuer !== 'string' || issuer === '')
      throw new ServiceClientError('unreachable', 'the metadata of the authorization server names no issuer')
    return issuer
  }

  const authenticate = createClientAuthentication(clientId, credential, readIssuer)

  async function send(grant: Record<string, string>, signal: AbortSignal): Promise<IssuedToken> {
    const { headers, form } = await authenticate(signal)
    const response = await fetch(tokenEndpoint, {
      method: 'POST',
      headers: { ...headers, accept: 'application/json' },
      body: new URLSearchParams({ ...grant, ...form }),
      redirect: 'manual',
      signal,
    })
    const fields = await readResponse(response, 'the token endpoint')
    if (!response.ok) throw refusal(fields.error, response.status)
    return readToken(fields)
  }

  return (grant: Record<string, string>): Promise<IssuedToken> =>
    backOff(async () => {
      const signal = AbortSignal.timeout(timeout)
      try {
        return await unlessAborted(send(grant, signal), signal)
      } catch (cause) {
        if (cause instanceof ServiceClientError) throw cause
        throw new ServiceClientError('unreachable', 'the token endpoint cannot be reached', { cause })
      }
    })
}

const concernsAll = (error: unknown) => ['unreachable', 'invalid_client'].includes((error as ServiceClientError).code)

/** The members of a JSON response that grants something or refuses it. */
async function readResponse({ body, status }: Response, whose: string): Promise<Record<string, unknown>> {
  const isAnswer = [2, 4].includes(Math.trunc(status / 100)) && status !== 429
  if (!isAnswer) {
    await body?.cancel()
    throw new ServiceClientError('unreachable', `${whose} responded ${status}`)
  }
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of body ?? []) {
    chunks.push(chunk)
    size += chunk.length
    // Leaving the loop cancels the rest.
    if (size > largest)
      throw new ServiceClientError('unreachable', `${whose} responded with more than ${largest} bytes`)
  }
  try {
    return { ...JSON.parse(Buffer.concat(chunks).toString()) }
  } catch {
    // Without the cause: it would show what was read, in which a token may be.
    throw new ServiceClientError('unreachable', `${whose} responded ${status} with something other than JSON`)
  }
}

function refusal(error: unknown, status: number): ServiceClientError {
  return typeof error === 'string' && errorCode.test(error)
    ? new ServiceClientError(error, `the token endpoint refused with ${error}`)
    : new ServiceClientError('unreachable', `the token endpoint responded ${status} and no error of OAuth`)
}

/** RFC 6749 section 5.1. Without a lifetime nobody knows when to ask again. */
function readToken({ access_token: accessToken, token_type: type, expires_in: expiresIn }: Record<string, unknown>) {
  const isUsable =
    typeof accessToken === 'string' &&
    bearerToken.test(accessToken) &&
    typeof type === 'string' &&
    type.toLowerCase() === 'bearer' &&
    typeof expiresIn === 'number' &&
    expiresIn > 0
  if (!isUsable)
    throw new ServiceClientError('unreachable', 'the token endpoint issued no bearer token with a lifetime')
  return { accessToken, expiresIn: Math.min(expiresIn, longest) }
}
