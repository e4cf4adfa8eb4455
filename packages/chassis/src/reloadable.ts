import { statSync } from 'node:fs'

export interface Reloadable<Value> {
  readonly current: Value
  /** Reads again now, as on SIGHUP. */
  reload(): void
  close(): void
}

interface Listeners<Value> {
  onReload: (value: Value) => void
  /** Receives the reason why what was read is invalid. The value before it stays in use. */
  onRefuse: (error: unknown) => void
}

/**
 * A value that is read from files, and read again when one of them changes. A new value takes over all at once; one that
 * cannot be read leaves the one in use. Files are looked at every second, since Kubernetes replaces the folder of a mounted
 * file, which nothing that watches the file itself would notice; and before they are read, so that no change is missed.
 *
 * @param read makes the value
 * @throws what `read` throws at start
 */
export function openReloadable<Value>(
  files: string[],
  read: () => Value,
  { onReload, onRefuse }: Listeners<Value>,
): Reloadable<Value> {
  const look = () => files.map((file) => stampOf(file)).join()
  let seen = look()
  let current = read()
  function reload(): void {
    seen = look()
    try {
      current = read()
    } catch (error) {
      onRefuse(error)
      return
    }
    onReload(current)
  }
  const watch = setInterval(() => {
    if (look() !== seen) reload()
  }, 1_000).unref()
  return {
    get current() {
      return current
    },
    reload,
    close() {
      clearInterval(watch)
    },
  }
}

/** What is another for a file that was replaced or written to. */
function stampOf(file: string): string {
  const { ino, size, mtimeNs } = statSync(file, { bigint: true, throwIfNoEntry: false }) ?? {}
  return `${ino} ${size} ${mtimeNs}`
}
