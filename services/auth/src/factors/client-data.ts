/** Every text in JSON, with the colon after it if it is the name of a member. */
const texts = /("(?:[^"\\]|\\.)*")(\s*:)?/g

/**
 * Reads what a browser says of a ceremony (WebAuthn CollectedClientData) more strictly than what verifies it does.
 *
 * @param encoded in base64url
 * @throws Error if a member is there twice, of which other readers see the other one, or if it was asked for in a frame:
 * our pages forbid to be framed
 */
export function readClientData(encoded: string): void {
  const text = Buffer.from(encoded, 'base64url').toString()
  const { crossOrigin = false, topOrigin } = JSON.parse(text)
  if (crossOrigin !== false || topOrigin !== undefined) throw new Error('it was asked for in a frame')
  const members = [...text.matchAll(texts)].flatMap(([, name, colon]) => (colon ? [JSON.parse(name as string)] : []))
  if (new Set(members).size < members.length) throw new Error('its client data has a member twice')
}
