import { readFileSync } from 'node:fs'

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }

/** What runs: the version, and in an image the commit that it was made of, as SemVer has build metadata. */
export function versionOf({ REVISION: revision }: { REVISION?: string | undefined }): string {
  return /^[0-9a-f]{7,64}$/.test(revision ?? '') ? `${version}+${revision?.slice(0, 7)}` : version
}
