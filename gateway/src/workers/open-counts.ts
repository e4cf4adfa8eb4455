/** What is open counts by each of these, of which there may be so many. */
export interface Bound {
  key: string
  most: number
}

/** Counts what is open at once. */
export interface Counts {
  /**
   * Counts one more by all of these bounds, or by none of them.
   *
   * @returns the place of the first that is reached, -1 if none is
   */
  open(bounds: Bound[]): number | Promise<number>
  /** To be called once for what was counted. */
  close(bounds: Bound[]): void
}

export class OpenCounts implements Counts {
  readonly #open = new Map<string, number>()

  /** How much is open by each key. */
  get all(): ReadonlyMap<string, number> {
    return this.#open
  }

  open(bounds: Bound[]): number {
    const reached = bounds.findIndex(({ key, most }) => this.#countOf(key) >= most)
    if (reached === -1) for (const { key } of bounds) this.#open.set(key, this.#countOf(key) + 1)
    return reached
  }

  close(bounds: Bound[]): void {
    for (const { key } of bounds) {
      const left = this.#countOf(key) - 1
      if (left === 0) this.#open.delete(key)
      else this.#open.set(key, left)
    }
  }

  #countOf(key: string): number {
    return this.#open.get(key) ?? 0
  }
}
