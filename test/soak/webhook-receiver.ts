import { appendFileSync } from 'node:fs'
import http from 'node:http'
import { text } from 'node:stream/consumers'

/**
 * A receiver of webhooks that is killed (webhook-crashes.ts). It notes what begins and what it has confirmed.
 *
 *   node webhook-receiver.js PORT FILE LONGEST-HOLD
 */
const [port, file, longest] = process.argv.slice(2) as [string, string, string]
const note = (line: object) => appendFileSync(file, `${JSON.stringify(line)}\n`)

http
  .createServer(async (request, response) => {
    const id = request.headers['webhook-id']
    const { type, data } = JSON.parse(await text(request))
    note({ id, type, user: data.user, name: data.name })
    setTimeout(() => response.writeHead(204).end(() => note({ confirmed: id })), Math.random() * Number(longest))
  })
  .listen(Number(port), '127.0.0.1', () => process.stdout.write('listening\n'))
