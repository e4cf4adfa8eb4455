import { showRateLimitStore } from '@sallyport/chassis/rate-limit'
import { Counter, Gauge } from 'prom-client'
import type { buildApp } from './app.ts'
import { openEventStreams } from './pipeline/measure.ts'

type Dependencies = Pick<
  Awaited<ReturnType<typeof buildApp>>,
  'revocations' | 'upstreams' | 'webSockets' | 'verifier' | 'apiKeys' | 'rateLimitStore'
>

/** Shows the state of a gateway as it is when it is asked. Requests are counted in measure.ts. */
export function showState({
  revocations,
  upstreams,
  webSockets,
  verifier,
  apiKeys,
  rateLimitStore,
}: Dependencies): void {
  new Gauge({
    name: 'sallyport_upstream_up',
    help: 'Whether requests are sent to an upstream (1), or it failed too often (0)',
    labelNames: ['upstream'],
    collect() {
      this.reset()
      for (const { origin, isUp } of upstreams.all) this.set({ upstream: origin }, Number(isUp))
    },
  })
  new Gauge({
    name: 'sallyport_upstream_connections',
    help: 'Connections to an upstream, by what they are in use for; requests have those that are active and idle',
    labelNames: ['upstream', 'state'],
    collect() {
      this.reset()
      for (const { origin, connections } of upstreams.all)
        for (const state of ['active', 'idle', 'stream'] as const)
          this.set({ upstream: origin, state }, connections[state])
    },
  })
  new Gauge({
    name: 'sallyport_upstream_waiting',
    help: 'Requests that wait for a connection to an upstream',
    labelNames: ['upstream'],
    collect() {
      this.reset()
      for (const { origin, connections } of upstreams.all) this.set({ upstream: origin }, connections.waiting)
    },
  })
  new Gauge({
    name: 'sallyport_upstream_full',
    help: 'Whether every connection to an upstream that requests may have is in use (1) or not (0)',
    labelNames: ['upstream'],
    collect() {
      this.reset()
      for (const { origin, connections } of upstreams.all)
        this.set({ upstream: origin }, Number(connections.active >= connections.most))
    },
  })
  new Gauge({
    name: 'sallyport_open_connections',
    help: 'WebSockets and streams of server-sent events that are open',
    labelNames: ['kind'],
    collect() {
      this.set({ kind: 'websocket' }, webSockets.open.size)
      this.set({ kind: 'event_stream' }, openEventStreams.size)
    },
  })

  new Gauge({
    name: 'sallyport_revocation_view_age_seconds',
    help: 'How long ago the view of ended sessions was last known to be current',
    collect() {
      this.set(revocations.age())
    },
  })
  new Gauge({
    name: 'sallyport_revocation_stream_connected',
    help: 'Whether the stream of ended sessions is open and up to date (1) or not (0)',
    collect() {
      this.set(Number(revocations.isCurrent))
    },
  })
  new Gauge({
    name: 'sallyport_revocations',
    help: 'Ended sessions, and users with changed roles, that tokens in use may still name',
    labelNames: ['of'],
    collect() {
      this.set({ of: 'session' }, revocations.held.sessions)
      this.set({ of: 'user' }, revocations.held.users)
    },
  })

  new Gauge({
    name: 'sallyport_token_cache_tokens',
    help: 'Verified access tokens that are kept',
    collect() {
      this.set(verifier.cache.size)
    },
  })
  new Counter({
    name: 'sallyport_token_cache_lookups_total',
    help: 'Access tokens looked up among those that are kept, by whether they were there',
    labelNames: ['result'],
    // The gateway counts by itself, which takes a fraction of the time.
    collect() {
      this.reset()
      this.inc({ result: 'hit' }, verifier.cache.hits)
      this.inc({ result: 'miss' }, verifier.cache.misses)
    },
  })

  new Gauge({
    name: 'sallyport_api_key_cache_keys',
    help: 'API keys whose access tokens are kept',
    collect() {
      this.set(apiKeys.cache.size)
    },
  })
  new Counter({
    name: 'sallyport_api_key_lookups_total',
    help: 'API keys looked up, by whether they were kept, or by what a call to the auth service came to',
    labelNames: ['outcome'],
    collect() {
      this.reset()
      for (const [outcome, count] of Object.entries(apiKeys.cache.outcomes)) this.inc({ outcome }, count)
    },
  })

  if (rateLimitStore) showRateLimitStore(rateLimitStore)
}
