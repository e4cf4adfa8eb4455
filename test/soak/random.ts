/** Random numbers that a seed repeats (mulberry32). */
export class Random {
  #state = 0x811c9dc5

  constructor(seed: string) {
    for (const character of seed) this.#state = Math.imul(this.#state ^ character.charCodeAt(0), 0x01000193)
  }

  /** From 0 to 1, without 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  /** A whole number from 0, without `end`. */
  below(end: number): number {
    return Math.floor(this.next() * end)
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T
  }

  /** Small numbers are as likely as large ones. */
  upTo(most: number): number {
    return Math.floor(most ** this.next())
  }

  /** Places at which a text of this length is cut, in order. */
  splits(length: number, most: number): number[] {
    const places = Array.from({ length: this.below(most + 1) }, () => this.below(length))
    return [...new Set(places)].filter((at) => at > 0).sort((one, other) => one - other)
  }
}
