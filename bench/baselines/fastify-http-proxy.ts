import proxy from '@fastify/http-proxy'
import jwt from '@fastify/jwt'
import Fastify from 'fastify'

/** @fastify/http-proxy behind @fastify/jwt, as their READMEs show them; the cache of verified tokens is on. */
const app = Fastify()
await app.register(jwt, {
  secret: { public: process.env.PUBLIC_KEY as string },
  verify: { algorithms: ['ES256'], allowedIss: 'https://issuer.test', allowedAud: 'https://api.test', cache: true },
})
await app.register(proxy, {
  upstream: process.env.UPSTREAM as string,
  preHandler: async (request) => {
    await request.jwtVerify()
  },
})
await app.listen({ port: Number(process.env.PORT), host: '0.0.0.0' })
