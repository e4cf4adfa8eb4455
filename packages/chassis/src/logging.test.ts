import { randomUUID } from 'node:crypto'
import { makeApiKey } from '@sallyport/identity'
import t from 'tap'
import { createLogger } from './logging.ts'

/** A logger, and the lines it wrote. */
function capture(level = 'trace') {
  const lines: string[] = []
  const logger = createLogger('test', level, { write: (line) => lines.push(line) })
  return { logger, lines, last: () => JSON.parse(lines.at(-1) ?? '{}') }
}

const jwt = 'eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ1c2VyLTEifQ.c2lnbmF0dXJlLW9m_-x'

t.test('a line is JSON with a time in UTC, a level by name and the service', async (t) => {
  const { logger, last } = capture()
  logger.warn({ event: 'happened' }, 'what it means')
  t.match(last(), { level: 'warn', time: /Z$/, service: 'test', event: 'happened', msg: 'what it means' })
})

t.test('lines below the level are not written', async (t) => {
  const { logger, lines } = capture('warn')
  logger.info('unheard')
  t.strictSame(lines, [])
})

t.test('no token survives in a line, wherever it stands', async (t) => {
  const { logger, lines } = capture()
  logger.info(`a token ${jwt} in a message`)
  logger.info({ deep: { deeper: [{ value: `Bearer ${jwt}` }] } })
  logger.error({ err: new Error(`refused ${jwt}`, { cause: new Error(`cookie refreshToken=${jwt}; Path=/`) }) })
  logger.info({ req: { method: 'GET', url: `/reset/${jwt}?token=${jwt}`, id: jwt } })
  logger.child({ bound: jwt }).info('from a child')
  logger.info({ unsigned: jwt.split('.').slice(0, 2).join('.') })
  t.equal(lines.length, 6)
  for (const line of lines) {
    t.match(line, /\[token\]/)
    for (const part of jwt.split('.')) t.notOk(line.includes(part), line)
    t.doesNotThrow(() => JSON.parse(line), 'what is left is still JSON')
  }
})

t.test('no API key survives in a line, wherever it stands', async (t) => {
  const { logger, lines } = capture()
  const key = makeApiKey(randomUUID())
  logger.info(`an API key ${key} in a message`)
  logger.info({ deep: [{ value: `Bearer ${key}` }], req: { method: 'GET', url: `/${key}`, id: key } })
  logger.error({ err: new Error('refused', { cause: key.slice(0, -1) }) })
  t.equal(lines.length, 3)
  for (const line of lines) {
    t.match(line, /\[token\]/)
    t.notOk(line.includes(key.slice(3, 35)) || line.includes(key.slice(36, 60)), line)
  }
})

t.test('no password, cookie or credential under its own name survives', async (t) => {
  const { logger, lines } = capture()
  for (const name of ['password', 'token', 'cookie', 'authorization']) {
    logger.info({ [name]: 'hush' })
    logger.info({ body: { [name]: 'hush' } })
  }
  t.equal(lines.length, 8)
  for (const line of lines) t.notOk(line.includes('hush'), line)
})

t.test('of a request the log says method, path and id, and nothing it carried', async (t) => {
  const { logger, last } = capture()
  const req = {
    method: 'POST',
    url: '/api/auth/login?code=hush',
    id: 'request-1',
    headers: { cookie: 'hush', authorization: 'hush' },
    body: { password: 'hush' },
  }
  logger.info({ req, res: { statusCode: 200, getHeaders: () => ({ 'set-cookie': 'hush' }) } })
  t.strictSame(last().req, { method: 'POST', path: '/api/auth/login', id: 'request-1' })
  t.strictSame(last().res, { status: 200 })
})

t.test('an error is logged with its causes, without what else hangs on it', async (t) => {
  const { logger, last } = capture()
  const socket = Object.assign(new Error('connect refused'), { code: 'ECONNREFUSED', query: 'hush' })
  logger.error({ err: new TypeError('no database', { cause: socket }) })
  t.match(last().err, {
    type: 'TypeError',
    message: 'no database',
    stack: /logging\.test/,
    cause: { type: 'Error', code: 'ECONNREFUSED', message: 'connect refused' },
  })
  t.notOk(JSON.stringify(last()).includes('hush'))
})

t.test('what was thrown and is no error is logged as text', async (t) => {
  const { logger, last } = capture()
  logger.error({ err: 'just a word' })
  t.strictSame(last().err, { message: 'just a word' })
  logger.error({ err: new Error('outer', { cause: 42 }) })
  t.strictSame(last().err.cause, { message: '42' })
})
