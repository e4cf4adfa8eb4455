import { request } from 'undici'

export interface DeviceResponse {
  status: number
  body: string
}

/** A browser, as far as a server sees one: it keeps every cookie, and comes from one address. */
export class Device {
  readonly #address: string
  readonly #cookies = new Map<string, string>()

  /** @param address of the client, as the proxy in front of a system says it */
  constructor(address: string) {
    this.#address = address
  }

  async call(method: 'GET' | 'POST', url: string, origin: string, json?: object): Promise<DeviceResponse> {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const { statusCode, headers, body } = await request(url, {
      method,
      headers: {
        origin,
        'x-forwarded-for': this.#address,
        ...(cookie && { cookie }),
        ...(json && { 'content-type': 'application/json' }),
      },
      ...(json && { body: JSON.stringify(json) }),
    })
    for (const set of [headers['set-cookie'] ?? []].flat()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(set) as unknown as [string, string, string]
      if (value === '') this.#cookies.delete(name)
      else this.#cookies.set(name, value)
    }
    return { status: statusCode, body: await body.text() }
  }
}
