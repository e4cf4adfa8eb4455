import { createServer } from 'node:http'

/** As little as a server of Node's can do: a response of a refresh's size, and no work for it. */
const body = JSON.stringify({ accessToken: 'x'.repeat(600), role: 'doctor', roles: ['doctor'] })
const cookie = `refreshToken=${'x'.repeat(280)}; Max-Age=604800; Path=/; HttpOnly; SameSite=Lax`
const server = createServer((request, response) => {
  request.resume()
  response.writeHead(200, { 'content-type': 'application/json', 'set-cookie': cookie }).end(body)
}).listen(0, '127.0.0.1', () => process.send({ port: server.address().port, cookies: ['refreshToken=x'] }))
process.on('disconnect', process.exit)
