import { createAuthClient } from '/client/index.js'

const auth = createAuthClient({ baseUrl: '{{gateway}}' })
const find = (id) => document.getElementById(id)
const answer = (text) => {
  find('answer').textContent = text
}

function show() {
  const { status, user, roles } = auth.getSnapshot()
  find('signed-out').hidden = status !== 'signed-out'
  find('signed-in').hidden = status !== 'signed-in'
  find('who').textContent = user ? `${user.email} (${roles.join(', ')})` : ''
}
auth.subscribe(show)
auth.startTokenMonitoring()
show()

find('signed-out').addEventListener('submit', async (event) => {
  event.preventDefault()
  const { email, password } = Object.fromEntries(new FormData(event.target))
  await auth.login({ email, password }).then(
    () => event.target.reset(),
    (error) => answer(error.message),
  )
})
find('sign-out').addEventListener('click', () => auth.logout())

for (const button of document.querySelectorAll('[data-path]'))
  button.addEventListener('click', async () => {
    const response = await auth.fetch(button.dataset.path) //? direct
    const token = auth.getAccessToken() //? proxy
    const headers = token ? { authorization: `Bearer ${token}` } : {} //? proxy
    const response = await fetch(button.dataset.path, { headers }) //? proxy
    answer(`${response.status} ${await response.text()}`)
  })
