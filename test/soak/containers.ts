import { execFile } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { Replicas } from '@sallyport/bench/replicas'

/**
 * The containers of a running compose project, with the demo doctor among its users.
 *
 * @param engine docker or podman
 * @param gateway where the project's gateway is reached
 */
export function findContainers(engine: string, project: string, gateway: string): Replicas {
  const run = async (...words: string[]) => (await promisify(execFile)(engine, words)).stdout.trim()
  const label = (name: string, value: string) => ['--filter', `label=com.docker.compose.${name}=${value}`]

  async function kill(service: string): Promise<void> {
    const id = await run('ps', '--quiet', ...label('project', project), ...label('service', service))
    if (!/^\w+$/.test(id)) throw new Error(`${project} has no one running container of ${service}`)
    await run('kill', '--signal', 'KILL', id)
    await sleep(500)
    await run('start', id)
  }

  return {
    gateways: [gateway],
    kills: ['auth', 'postgres', 'auth', 'gateway', 'postgres'].map((service) => [service, () => kill(service)]),
    // They are stopped by what started them.
    stop: async () => {},
  }
}
