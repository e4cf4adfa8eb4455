import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ConfigurationError } from '@sallyport/chassis'

export interface Page {
  /** index.html, saying where the gateway is, who may register, and whether the samples run. */
  html: string
  /** The folder of what it loads. The name of every file holds a hash of its content. */
  assets: string
}

interface Settings {
  /** The origin of the gateway; undefined if it is the page's own. */
  gateway?: string | undefined
  registration: string
  samples: string
}

/**
 * The page reads the settings of its deployment in its own head, so that one build does for every deployment.
 *
 * @throws ConfigurationError if the page was not built
 */
export function readPage(folder: string, { gateway = '', registration, samples }: Settings): Page {
  const file = join(folder, 'index.html')
  try {
    const html = Object.entries({ gateway, registration, samples }).reduce(
      (html, [name, value]) =>
        html.replace(`<meta name="${name}" content="" />`, `<meta name="${name}" content="${value}" />`),
      readFileSync(file, 'utf8'),
    )
    return { html, assets: join(folder, 'assets') }
  } catch (cause) {
    throw new ConfigurationError(`${file} cannot be read; make it with \`npm run build\``, { cause })
  }
}
