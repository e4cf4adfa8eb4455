// Signs in at a gateway and refreshes and calls without a pause, until it is told to stop (SIGTERM). Ends with how many
// requests there were, and with code 1 if any was not served.
const [gateway] = process.argv.slice(2)
let isBusy = true
process.on('SIGTERM', () => {
  isBusy = false
})

async function run() {
  const failures = []
  const cookies = new Map()
  let token
  let requests = 0
  async function call(method, path, body) {
    const response = await fetch(gateway + path, {
      method,
      headers: {
        'content-type': 'application/json',
        cookie: [...cookies].map((pair) => pair.join('=')).join('; '),
        ...(token && { authorization: `Bearer ${token}` }),
      },
      body: body && JSON.stringify(body),
    })
    for (const cookie of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(cookie)
      cookies.set(name, value)
    }
    requests += 1
    const text = await response.text()
    if (response.status !== 200) failures.push(`${method} ${path}: ${response.status} ${text}`)
    return response.status === 200 ? JSON.parse(text) : {}
  }

  token = (
    await call('POST', '/api/auth/login', { email: 'doctor@example.com', password: 'correct-horse-battery-staple' })
  ).accessToken
  while (isBusy) {
    token = (await call('POST', '/api/auth/refresh')).accessToken
    await call('GET', '/api/auth/me')
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  process.stdout.write(`${requests} requests, ${failures.length} not served\n`)
  for (const failure of failures.slice(0, 5)) process.stdout.write(`${failure}\n`)
  process.exitCode = failures.length > 0 || requests < 10 ? 1 : 0
}

run()
