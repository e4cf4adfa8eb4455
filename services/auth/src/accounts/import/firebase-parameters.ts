import type { FirebaseParameters } from './hashes.ts'

/**
 * Reads what Firebase's console shows of how a project hashes passwords (Authentication, Users, "Password hash
 * parameters"), as it is copied from there.
 *
 * @throws Error with a line that says what is missing
 */
export function readFirebaseParameters(text: string): FirebaseParameters {
  const read = (name: string) => {
    const value = new RegExp(`${name}["']?\\s*:\\s*["']?([A-Za-z0-9+/=_-]+)`).exec(text)?.[1]
    if (value === undefined) throw new Error(`the parameters of Firebase's hashes have no ${name}`)
    return value
  }
  return {
    signerKey: read('base64_signer_key'),
    saltSeparator: read('base64_salt_separator'),
    rounds: Number(read('rounds')),
    memCost: Number(read('mem_cost')),
  }
}
