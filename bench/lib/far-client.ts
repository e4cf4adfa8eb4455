import { execFileSync } from 'node:child_process'

/** Another machine as far as the kernel is concerned: a network namespace behind a link with an MTU of 1,500. */
export interface FarClient {
  /** What runs a program there. */
  prefix: string[]
  /** By which it reaches this side. */
  address: string
  remove(): void
}

/**
 * Makes one. The link does what a card would: no segment is larger than its MTU, as nothing is left to be cut later.
 *
 * @returns undefined if this user may not, or the programs are missing (iproute2, ethtool)
 */
export function addFarClient(): FarClient | undefined {
  const name = `far-${process.pid}`
  const [near, far] = [`near${process.pid}`, `far${process.pid}`]
  // For benchmarks (RFC 2544).
  const [address, other] = ['198.18.0.1', '198.18.0.2']
  const inside = ['ip', 'netns', 'exec', name]
  const run = (...[program, ...args]: string[]) => execFileSync(program as string, args, { stdio: 'ignore' })
  const remove = () => run('ip', 'netns', 'del', name)
  try {
    run('ip', 'netns', 'add', name)
  } catch {
    return undefined
  }
  try {
    run('ip', 'link', 'add', near, 'mtu', '1500', 'type', 'veth', 'peer', 'name', far, 'mtu', '1500', 'netns', name)
    run('ip', 'address', 'add', `${address}/30`, 'dev', near)
    run(...inside, 'ip', 'address', 'add', `${other}/30`, 'dev', far)
    run('ip', 'link', 'set', near, 'up')
    run(...inside, 'ip', 'link', 'set', far, 'up')
    for (const [where, device] of [
      [[], near],
      [inside, far],
    ] as const)
      run(...where, 'ethtool', '-K', device, 'tso', 'off', 'gso', 'off', 'gro', 'off')
  } catch {
    remove()
    return undefined
  }
  return { prefix: inside, address, remove }
}
