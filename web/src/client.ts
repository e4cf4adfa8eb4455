import { accountOf, createAuthClient, factorsOf } from '@sallyport/client'
import { withImpersonation } from '@sallyport/client/impersonation'
import { passkeysOf } from '@sallyport/client/passkeys'
import { createStepUpPrompt } from '@sallyport/react'

/** The server of this page writes its settings there. */
const settingOf = (name: string) => document.querySelector<HTMLMetaElement>(`meta[name="${name}"]`)?.content

/** Empty is the page's own origin. */
const gateway = settingOf('gateway') || location.origin

export const mayRegister = settingOf('registration') === 'open'

/** Whether there are appointments, and somebody who tells of them. */
export const hasSamples = settingOf('samples') !== 'off'

/** What `StepUpDialog` asks. */
export const stepUpPrompt = createStepUpPrompt()

export const client = withImpersonation(createAuthClient({ baseUrl: gateway, onStepUp: stepUpPrompt.ask }))

export const account = accountOf(client)
export const factors = factorsOf(client)
export const passkeys = passkeysOf(client)

/** The address of a WebSocket at the gateway. */
export const webSocketAddress = (path: string) => gateway.replace(/^http/, 'ws') + path
