import type { KeyObject } from 'node:crypto'
import type { Logger } from '@sallyport/chassis'
import { importKey } from '@sallyport/identity'
import {
  type Algorithm,
  algorithmsOf,
  type ForeignIssuer,
  foreignIssuer,
  type Issuer,
  type KeySource,
  openKeySet,
  ownIssuer,
  usualAlgorithms,
} from '@sallyport/verify'

/** An issuer of the route file, and where its keys are. */
export type IssuerEntry = ForeignIssuer & { keys: KeySource }

interface Settings {
  /** Sallyport's own auth service; undefined where there is none. */
  own: { issuer: string; audience: string; jwks: string } | undefined
  /** Seconds. */
  keySetMaxAge: number
}

/**
 * Whose access tokens are taken: the auth service's, as the environment says, and those of the issuers in the route file.
 * Each has keys of its own, so that two may have the same `kid`.
 */
export class Issuers {
  readonly own: Issuer<KeyObject> | undefined
  /** The ids of the auth service's keys that are held now. */
  ownKeys: readonly string[] = []
  readonly #settings: Settings
  readonly #logger: Logger
  readonly #open = new Map<string, Issuer<KeyObject>>()
  readonly #listeners: (() => void)[] = []

  constructor(settings: Settings, logger: Logger) {
    this.#settings = settings
    this.#logger = logger
    const { own } = settings
    this.own =
      own && ownIssuer(own.issuer, own.audience, this.#openKeys(own.issuer, { jwks: own.jwks }, usualAlgorithms))
  }

  /** The issuer that the route file describes so: the same as before, unless something in it has changed. */
  at({ keys, ...entry }: IssuerEntry): Issuer<KeyObject> {
    const text = JSON.stringify([entry, keys])
    let issuer = this.#open.get(text)
    if (!issuer) {
      issuer = foreignIssuer(entry, this.#openKeys(entry.issuer, keys, algorithmsOf(entry)))
      this.#open.set(text, issuer)
    }
    return issuer
  }

  /** Lets go of every issuer of the route file that is not among these: their tokens are refused from now on. */
  keep(issuers: ReadonlySet<Issuer<KeyObject>>): void {
    for (const [text, issuer] of this.#open) {
      if (issuers.has(issuer)) continue
      this.#open.delete(text)
      issuer.keySet.close()
    }
    this.#tell()
  }

  /** Calls back when keys came or went: tokens that were valid may not be so any more. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener)
  }

  #tell(): void {
    for (const listener of this.#listeners) listener()
  }

  /** Resolves once the keys of one were fetched: while another is away, the tokens of this one are good. */
  async ready(): Promise<void> {
    const all = this.#all
    await Promise.any(all.map(({ keySet }) => keySet.ready())).catch(({ errors: [first] }) => {
      throw first
    })
  }

  close(): void {
    for (const { keySet } of this.#all) keySet.close()
  }

  get #all(): Issuer<KeyObject>[] {
    return [...(this.own ? [this.own] : []), ...this.#open.values()]
  }

  #openKeys(issuer: string, source: KeySource, algorithms: readonly Algorithm[]) {
    const logger = this.#logger
    return openKeySet(source, {
      algorithms,
      importKey,
      maxAge: this.#settings.keySetMaxAge * 1000,
      isKeptFresh: true,
      // Operators who rotate a key see here that this gateway has it.
      onChange: (kids) => {
        logger.info({ event: 'key_set_changed', issuer, kids })
        if (issuer === this.#settings.own?.issuer) this.ownKeys = kids
        this.#tell()
      },
      onFailure: (err, isCached) =>
        logger.warn(
          { event: 'key_set_unreachable', issuer, err },
          isCached ? 'the cached keys stay in use' : 'until its keys are fetched once, its tokens are 503',
        ),
    })
  }
}
