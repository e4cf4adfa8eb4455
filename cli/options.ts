import { InvalidArgumentError } from 'commander'

/** Reads an option that is a whole number from 1 on. */
export const mostOf =
  (most: number) =>
  (text: string): number => {
    const number = /^\d{1,9}$/.test(text) ? Number(text) : 0
    if (number < 1 || number > most) throw new InvalidArgumentError(`It is a whole number from 1 to ${most}.`)
    return number
  }

/** Takes every value of an option that may be given several times. */
export const collect = (value: string, all: string[]): string[] => [...all, value]
