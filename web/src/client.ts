import { createAuthClient } from '@sallyport/client'

/** The server of this page writes it there; empty is the page's own origin. */
const gateway = document.querySelector<HTMLMetaElement>('meta[name="gateway"]')?.content || location.origin

export const client = createAuthClient({ baseUrl: gateway })

/** The address of a WebSocket at the gateway. */
export const webSocketAddress = (path: string) => gateway.replace(/^http/, 'ws') + path
