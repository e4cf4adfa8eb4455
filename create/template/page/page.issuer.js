/** What the provider's library gives, once it is here. */
const accessToken = () => document.getElementById('token').value.trim()

for (const button of document.querySelectorAll('[data-path]'))
  button.addEventListener('click', async () => {
    const headers = accessToken() ? { authorization: `Bearer ${accessToken()}` } : {}
    const response = await fetch(button.dataset.path, { headers })
    document.getElementById('answer').textContent = `${response.status} ${await response.text()}`
  })
