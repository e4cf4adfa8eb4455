import bowser from 'bowser'

/** Such as "Firefox on Linux"; what is unknown is left out. */
export function describeDevice(userAgent: string | null | undefined): string {
  const { browser, os } = bowser.parse(userAgent || 'unknown')
  return [browser.name, os.name].filter(Boolean).join(' on ') || 'Unknown'
}
