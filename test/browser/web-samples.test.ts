/// <reference lib="dom" />
import t from 'tap'
import { startWebApp, withoutBrowser } from '../support/chromium.ts'

t.setTimeout(120_000)

t.test(
  'without the samples the pages of accounts and admins go on, and nothing asks for appointments',
  { skip: withoutBrowser },
  async (t) => {
    const { open } = await startWebApp(t, { SAMPLES: 'off' })
    const { page, signIn, visit, complaints } = await open()
    const asked: string[] = []
    page.on('request', (request) => asked.push(new URL(request.url()).pathname))
    page.on('websocket', (socket) => asked.push(new URL(socket.url()).pathname))
    await signIn('admin@example.com')
    await page.getByText('Your account').waitFor()
    const nav = page.getByRole('navigation', { name: 'Main' })
    const places = await nav.getByRole('link').allTextContents()
    t.ok(places.includes('Users') && !places.includes('Appointments'), places.join(', '))
    for (const [path, text] of [
      ['/users', 'patient@example.com'],
      ['/sessions', 'this device'],
      ['/account', 'New e-mail'],
      ['/appointments', 'There is nothing here'],
    ] as const) {
      await visit(path)
      await page.getByText(text).first().waitFor()
    }
    t.strictSame(
      asked.filter((path) => /^\/api\/(appointments|doctor|notifications|whoami)/.test(path)),
      [],
    )
    t.strictSame(complaints, [])
  },
)
