import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ConfigurationError } from '@sallyport/chassis'

export interface Page {
  /** index.html, saying where the gateway is and who may register. */
  html: string
  /** The folder of what it loads. The name of every file holds a hash of its content. */
  assets: string
}

interface Settings {
  /** The origin of the gateway; undefined if it is the page's own. */
  gateway?: string | undefined
  registration: string
}

/**
 * The page reads the settings of its deployment in its own head, so that one build does for every deployment.
 *
 * @throws ConfigurationError if the page was not built
 */
export function readPage(folder: string, { gateway = '', registration }: Settings): Page {
  const file = join(folder, 'index.html')
  try {
    const html = Object.entries({ gateway, registration }).reduce(
      (html, [name, value]) =>
        html.replace(`<meta name="${name}" content="" />`, `<meta name="${name}" content="${value}" />`),
      readFileSync(file, 'utf8'),
    )
    return { html, assets: join(folder, 'assets') }
  } catch (cause) {
    throw new ConfigurationError(`${file} cannot be read; make it with \`npm run build\``, { cause })
  }
}
