import type { Application } from '@sallyport/chassis'
import Fastify from 'fastify'
import t from 'tap'
import type { Config } from '../config.ts'
import { metadataRoute } from './metadata.ts'

const wellKnown = '/.well-known/oauth-authorization-server'

async function at(path: string, issuer: string, oauthOrigin?: string) {
  const app = Fastify()
  metadataRoute(app as unknown as Application, { config: { oauthOrigin, accessToken: { issuer } } as Config })
  return app.inject(path)
}

t.test('the metadata names the issuer to the letter, and endpoints where the gateway is (RFC 8414)', async (t) => {
  for (const issuer of ['https://issuer.test', 'https://issuer.test/', 'http://localhost:5000']) {
    const response = await at(wellKnown, issuer, 'https://gateway.test')
    t.equal(response.statusCode, 200)
    t.match(response.headers['cache-control'], /max-age/)
    t.match(response.json(), {
      issuer,
      token_endpoint: 'https://gateway.test/oauth/token',
      introspection_endpoint: 'https://gateway.test/oauth/introspect',
      revocation_endpoint: 'https://gateway.test/oauth/revoke',
      jwks_uri: 'https://gateway.test/.well-known/jwks.json',
      response_types_supported: [],
    })
  }
})

t.test('the path of an issuer follows the well-known name (RFC 8414 section 3.1)', async (t) => {
  for (const path of ['/tenant', '/tenant/one']) {
    const issuer = `https://issuer.test${path}`
    t.match((await at(wellKnown + path, issuer, 'https://issuer.test')).json(), { issuer })
    t.equal((await at(wellKnown, issuer, 'https://issuer.test')).statusCode, 404)
  }
})

t.test('there is none where clients could not find the endpoints by the issuer', async (t) => {
  t.equal((await at(wellKnown, 'sallyport')).statusCode, 404)
})
