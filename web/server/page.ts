import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ConfigurationError } from '@sallyport/chassis'

export interface Page {
  /** index.html, saying where the gateway is. */
  html: string
  /** The folder of what it loads. The name of every file holds a hash of its content. */
  assets: string
}

/** Where the page reads the gateway's origin, so that one build does for every deployment. */
const unknownGateway = '<meta name="gateway" content="" />'

/**
 * @param gateway the origin of the gateway; undefined if it is the page's own
 * @throws ConfigurationError if the page was not built
 */
export function readPage(folder: string, gateway = ''): Page {
  const file = join(folder, 'index.html')
  try {
    const html = readFileSync(file, 'utf8').replace(unknownGateway, `<meta name="gateway" content="${gateway}" />`)
    return { html, assets: join(folder, 'assets') }
  } catch (cause) {
    throw new ConfigurationError(`${file} cannot be read; make it with \`npm run build\``, { cause })
  }
}
