import { mkdirSync, mkdtempSync, rmdirSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { ConfigurationError } from '@sallyport/chassis'

/**
 * Makes a folder that only its owner can enter, unless it is there.
 *
 * @returns its whole path
 * @throws ConfigurationError if we cannot write there
 */
export function openFolder(path: string): string {
  const folder = resolve(path)
  try {
    make(folder)
    // Whether we may is for the system to say: root may by every mode, and still cannot in /proc.
    rmdirSync(mkdtempSync(join(folder, 'try-')))
  } catch (error) {
    throw new ConfigurationError(
      `${folder} cannot be used (${(error as Error).message}); set DATA_DIR to a folder that you may write to`,
    )
  }
  return folder
}

/** One after another: `recursive` tries for ever where no folder can be made, as in /proc. */
function make(folder: string): void {
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory()) return
  const parent = dirname(folder)
  if (parent !== folder) make(parent)
  try {
    mkdirSync(folder, { mode: 0o700 })
  } catch (error) {
    // Another start was first.
    if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) throw error
  }
}

/**
 * Looks every second whether a folder is still where it was.
 *
 * @returns what ends it
 */
export function watchFolder(folder: string, onGone: () => void): () => void {
  const inode = () => statSync(folder, { throwIfNoEntry: false })?.ino
  const before = inode()
  const looking = setInterval(() => inode() !== before && onGone(), 1_000).unref()
  return () => clearInterval(looking)
}
