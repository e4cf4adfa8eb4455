import { type GoTrueOptions, goTruePeer } from './gotrue-peer.ts'
import { openIdPeer } from './openid-peer.ts'
import { type Peer, usedBy } from './peer.ts'

/**
 * Peers that run elsewhere, as variables name them: `KEYCLOAK_OPENID` is the issuer of an OpenID provider that is called
 * Keycloak in the tables, `SUPABASE_GOTRUE` the address of a GoTrue; what else is known of it has the same first word.
 */
export async function namedPeers(environment: NodeJS.ProcessEnv): Promise<Peer[]> {
  const peers: Peer[] = []
  for (const variable of Object.keys(environment).sort()) {
    const [, word, kind] = /^([A-Z][A-Z0-9]*)_(OPENID|GOTRUE)$/.exec(variable) ?? []
    if (word === undefined || !environment[variable]) continue
    const get = (what: string) => environment[`${word}_${what}`] || undefined
    const need = (what: string) => {
      const value = get(what)
      if (value === undefined) throw new Error(`${variable} needs ${word}_${what}`)
      return value
    }
    const address = environment[variable] as string
    const pids = get('PIDS')
      ?.split(/[\s,]+/)
      .map(Number)
    const shared = { name: word.charAt(0) + word.slice(1).toLowerCase(), used: pids && (() => usedBy(pids)) }
    if (kind === 'GOTRUE') {
      const options: GoTrueOptions = {
        ...shared,
        url: address,
        key: get('KEY'),
        email: need('USERNAME'),
        password: need('PASSWORD'),
      }
      peers.push(goTruePeer(options))
      continue
    }
    const username = get('USERNAME')
    const user = username === undefined ? undefined : { username, password: need('PASSWORD') }
    peers.push(
      await openIdPeer({
        ...shared,
        issuer: address,
        clientId: need('CLIENT_ID'),
        clientSecret: get('CLIENT_SECRET'),
        user: user && (() => user),
        refreshTokens: get('REFRESH_TOKENS')?.split(/[\s,]+/),
        userParameters: parametersOf(get('USER_PARAMETERS') ?? 'scope=openid offline_access'),
        machineParameters: parametersOf(get('MACHINE_PARAMETERS') ?? ''),
      }),
    )
  }
  return peers
}

const parametersOf = (text: string): Record<string, string> => Object.fromEntries(new URLSearchParams(text))
