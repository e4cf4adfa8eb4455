import { randomUUID } from 'node:crypto'
import { createSigner } from './sign.ts'

/** How a service account proves who it is: by a key of its own, or by a secret that the server knows too. */
export type ClientCredential =
  | {
      /** PEM of an EC P-256, RSA or Ed25519 key whose public half is registered. */
      privateKey: string
      clientSecret?: undefined
    }
  | { clientSecret: string; privateKey?: undefined }

/** What is added to a request for it. */
interface Authentication {
  headers?: Record<string, string>
  form?: Record<string, string>
}

/** How long a client assertion is valid, in seconds. */
const lifetime = 60

/**
 * Makes client authentication (RFC 6749 section 2.3): with a secret HTTP Basic, with a key an assertion of RFC 7523.
 *
 * @param readIssuer the identifier of the server, and so the only audience of an assertion
 * @throws if the key is none of those we sign with
 */
export function createClientAuthentication(
  clientId: string,
  { privateKey, clientSecret }: ClientCredential,
  readIssuer: (signal: AbortSignal) => Promise<string>,
): (signal: AbortSignal) => Promise<Authentication> {
  if (privateKey === undefined) {
    const pair = `${formEncode(clientId)}:${formEncode(clientSecret)}`
    const headers = { authorization: `Basic ${Buffer.from(pair).toString('base64')}` }
    return async () => ({ headers })
  }
  const sign = createSigner(privateKey, 'client-authentication+jwt')
  return async (signal) => {
    const aud = await readIssuer(signal)
    const iat = Math.floor(Date.now() / 1000)
    const assertion = sign({ iss: clientId, sub: clientId, aud, jti: randomUUID(), iat, exp: iat + lifetime })
    return {
      form: {
        client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
        client_assertion: assertion,
      },
    }
  }
}

/** As application/x-www-form-urlencoded (RFC 6749 section 2.3.1), so that a colon in an id does not end it. */
const formEncode = (text: string) => new URLSearchParams({ '': text }).toString().slice(1)
