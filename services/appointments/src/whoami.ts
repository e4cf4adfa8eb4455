import type { Application } from '@sallyport/chassis'
import { identityHeaders } from '@sallyport/identity'
import type { Guard } from '@sallyport/identity/fastify'

/** Shows the identity headers as they arrived, but for the assertion, which is a credential. */
export function whoamiRoute(app: Application, { signedIn }: { signedIn: Guard }): void {
  const { assertion: _, ...shown } = identityHeaders
  app.get('/api/whoami', { preHandler: signedIn }, async ({ headers }) =>
    Object.fromEntries(Object.values(shown).map((name) => [name, headers[name]])),
  )
}
