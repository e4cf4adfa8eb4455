import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import { createSigner } from '@sallyport/identity'

/** What any token endpoint on Node costs at least: a request, a signature and a response. It knows nobody and checks nothing. */
const { ISSUER, AUDIENCE, SCOPE, PRIVATE_KEY, PORT } = process.env as Record<string, string>
const sign = createSigner(PRIVATE_KEY as string, 'at+jwt')

createServer((request, response) => {
  request.resume().once('end', () => {
    const iat = Math.floor(Date.now() / 1000)
    const [sub, jti] = [randomUUID(), randomUUID()]
    const claims = { iss: ISSUER, aud: AUDIENCE, sub, client_id: sub, sid: sub, jti, iat, exp: iat + 900, scope: SCOPE }
    const body = JSON.stringify({ access_token: sign(claims), token_type: 'Bearer', expires_in: 900, scope: SCOPE })
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length }).end(body)
  })
}).listen(Number(PORT), '127.0.0.1', () => process.send?.('listening'))
process.once('disconnect', () => process.exit())
