import type { IncomingHttpHeaders } from 'node:http'
import { identityHeaders } from '@sallyport/verify'
import { LRUCache } from 'lru-cache'
import type { ClientCredential } from './client-authentication.ts'
import { ServiceClientError } from './service-client-error.ts'
import { createTokenEndpoint } from './token-endpoint.ts'
import { createTokenSource, type TokenSource } from './token-source.ts'

export type ServiceClientOptions = ClientCredential & {
  /** The address of `/oauth/token`, as the gateway has it. */
  tokenEndpoint: string | URL
  /** The id of the service account. */
  clientId: string
  /**
   * Who the authorization server is, as it calls itself: the `aud` of client assertions. If not given, it is read once
   * from `/.well-known/oauth-authorization-server` at the origin of `tokenEndpoint` (RFC 8414), and nothing else is: where
   * tokens are asked for is never taken from there. Give it where the same key is registered with several servers.
   */
  issuer?: string
  /** What tokens of `fetch` and `token` are limited to, parted by spaces; all that the account has if not given. */
  scope?: string
  /** What they are for, as the routes' `audience`; the whole API if not given. */
  audience?: string
  /** Where tokens may be sent; the origin of `tokenEndpoint` alone if not given, as every call goes through the gateway. */
  origins?: string[]
  fetch?: typeof fetch
}

/** What is sent: as `fetch` has it, but no redirect is followed. */
export type ServiceRequest = Omit<RequestInit, 'redirect'> & { redirect?: 'manual' | 'error' }

export interface AuthorizedCalls {
  /**
   * Sends a request with a token. A path is one at the origin of the token endpoint. A redirect is not followed, so that
   * no token goes elsewhere: the response is it (`redirect: 'manual'`, the default), or it is an error. After a 401 with
   * `error="invalid_token"` (RFC 6750 section 3.1) it is sent once more with a new token, unless its body is a stream.
   * Other responses are the caller's, whatever their status.
   *
   * @throws ServiceClientError without a token; TypeError for another origin than `origins`, and what `fetch` throws
   */
  fetch(input: string | URL, init?: ServiceRequest): Promise<Response>
  /**
   * The token itself, for what is not called by `fetch`. It is given to nobody after its end; that it was revoked is not
   * known here.
   *
   * @throws ServiceClientError; the reason of the signal, which ends this wait alone
   */
  token(options?: { signal?: AbortSignal }): Promise<string>
}

export interface ServiceClient extends AuthorizedCalls {
  /**
   * Calls on for whoever called: by token exchange (RFC 8693), of the identity assertion for a token that says who acts
   * for whom. It never calls as the service itself. Tokens are kept for each assertion, audience and scope.
   *
   * The assertion is not checked here: a guard has to have let the request pass.
   *
   * @param caller the incoming request, or its `x-identity-token`
   * @param target `audience` as the routes' and `scope` as the registered exchange allows them
   * @throws ServiceClientError `invalid_request` if the request has no assertion
   */
  onBehalfOf(
    caller: string | { headers: IncomingHttpHeaders },
    target: { audience: string; scope?: string },
  ): AuthorizedCalls
}

/** How many callers' tokens are kept. */
const mostExchanges = 1000

/**
 * Makes what a service calls others with, through the gateway: as itself, or on behalf of its caller. A token is asked for
 * once, whoever waits for it, kept, and renewed while the old one is good, so that an outage of the auth service is noticed
 * only after the token's end. Nobody waits for a token longer than 5 seconds; after a failure the endpoint is left alone for
 * up to 10, in which whoever needs a new token has the same error at once.
 *
 * It authenticates with a key (RFC 7523) or a secret (RFC 6749 section 2.3.1). It does not require TLS: where the network
 * between a service and the gateway is not trusted, give an https address.
 *
 * @throws TypeError for options that do not fit together; Error for a key that is none of EC P-256, Ed25519 and RSA
 */
export function createServiceClient(options: ServiceClientOptions): ServiceClient {
  const { tokenEndpoint, clientId, privateKey, clientSecret, issuer, scope, audience } = options
  const { fetch = globalThis.fetch } = options
  if ((privateKey === undefined) === (clientSecret === undefined))
    throw new TypeError('createServiceClient takes privateKey or clientSecret, one of the two')
  const endpoint = new URL(tokenEndpoint)
  const origins = new Set(options.origins ?? [endpoint.origin])
  const credential = (privateKey === undefined ? { clientSecret } : { privateKey }) as ClientCredential
  const request = createTokenEndpoint({ ...credential, tokenEndpoint: endpoint, clientId, issuer, fetch })

  function callsWith(source: TokenSource): AuthorizedCalls {
    return {
      token: ({ signal } = {}) => source.get(signal),
      async fetch(input, init = {}) {
        const url = new URL(input, endpoint.origin)
        if (!origins.has(url.origin)) throw new TypeError(`${url.origin} is no origin that tokens may be sent to`)
        if ((init.redirect as string) === 'follow') throw new TypeError('a request with a token follows no redirect')
        const send = (token: string) => {
          const headers = new Headers(init.headers)
          headers.set('authorization', `Bearer ${token}`)
          return fetch(url, { ...init, headers, redirect: init.redirect ?? 'manual' })
        }
        const token = await source.get(init.signal)
        const response = await send(token)
        if (!isInvalidToken(response) || !canBeSentAgain(init.body) || !source.drop(token)) return response
        await response.body?.cancel()
        return send(await source.get(init.signal))
      },
    }
  }

  const own = createTokenSource(() => request(compact({ grant_type: 'client_credentials', scope, audience })), {
    renews: true,
  })
  const exchanges = new LRUCache<string, AuthorizedCalls>({ max: mostExchanges })

  return {
    ...callsWith(own),
    onBehalfOf(caller, { audience, scope }) {
      const assertion = typeof caller === 'string' ? caller : caller.headers[identityHeaders.assertion]
      if (typeof assertion !== 'string' || assertion === '')
        throw new ServiceClientError('invalid_request', `there is no ${identityHeaders.assertion} to call on behalf of`)
      const key = JSON.stringify([assertion, audience, scope])
      const known = exchanges.get(key)
      if (known) return known
      const form = compact({
        grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
        subject_token: assertion,
        subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
        audience,
        scope,
      })
      // An assertion ends within a minute: its token cannot be renewed, and the next request brings another.
      const calls = callsWith(createTokenSource(() => request(form), { renews: false }))
      exchanges.set(key, calls)
      return calls
    },
  }
}

/** RFC 6750 section 3.1. */
const isInvalidToken = ({ status, headers }: Response) =>
  status === 401 && /\berror="?invalid_token\b/i.test(headers.get('www-authenticate') ?? '')

/** A stream is gone once it was sent. */
const canBeSentAgain = (body: RequestInit['body']) =>
  body === undefined ||
  body === null ||
  typeof body === 'string' ||
  ArrayBuffer.isView(body) ||
  [ArrayBuffer, URLSearchParams, FormData, Blob].some((kind) => body instanceof kind)

/** Without what was not given: an empty parameter is one too. */
const compact = (form: Record<string, string | undefined>) =>
  Object.fromEntries(Object.entries(form).filter((field): field is [string, string] => field[1] !== undefined))
