import { type FirebaseParameters, fromAuth0, fromFirebase, fromKeycloak, fromText } from './hashes.ts'
import { type Fields, fieldsOf, isTrue, listOf, type Person, type ReadPerson, textOf, textsOf } from './person.ts'
import { ofCharacters, readTotp } from './totp.ts'

export const sources = ['supabase', 'keycloak', 'auth0', 'firebase', 'better-auth', 'csv'] as const
export type Source = (typeof sources)[number]

export function readerOf(source: Source, firebase: FirebaseParameters | undefined): ReadPerson {
  switch (source) {
    case 'supabase':
      return readSupabase
    case 'keycloak':
      return readKeycloak
    case 'auth0':
      return readAuth0
    case 'firebase':
      return (fields) => readFirebase(fields, firebase)
    case 'better-auth':
      return readBetterAuth
    case 'csv':
      return readRow
  }
}

const convert = <Kept, Converted>(kept: Kept | undefined, by: (kept: Kept) => Converted): Converted | undefined =>
  kept === undefined ? undefined : by(kept)

const instant = (value: unknown) => (typeof value === 'number' ? value : textOf(value))

/** `auth.users`, with the secret of the authenticator app in `totp_secret`, where docs/moving-in.md puts it. */
function readSupabase(user: Fields): Person {
  const [about, app] = [fieldsOf(user.raw_user_meta_data), fieldsOf(user.raw_app_meta_data)]
  const banned = textOf(user.banned_until)
  return {
    id: textOf(user.id),
    email: textOf(user.email),
    verified: textOf(user.email_confirmed_at) !== undefined,
    name: textOf(about.full_name) ?? textOf(about.name),
    locale: textOf(about.locale),
    roles: [...textsOf(app.roles), ...textsOf(app.role)],
    disabled: banned !== undefined && !(Date.parse(banned) <= Date.now()),
    gone: textOf(user.deleted_at) !== undefined || isTrue(user.is_anonymous),
    createdAt: instant(user.created_at),
    hash: convert(textOf(user.encrypted_password), fromText),
    totp: convert(textOf(user.totp_secret), readTotp),
  }
}

/** A user of a realm as `kc.sh export` writes one. */
function readKeycloak(user: Fields): Person {
  const credentials = listOf(user.credentials).map(fieldsOf)
  const partsOf = (type: string) => {
    const found = credentials.find((credential) => credential.type === type)
    return found && { secret: fieldsOf(found.secretData), data: fieldsOf(found.credentialData) }
  }
  const names = [textOf(user.firstName), textOf(user.lastName)].filter((name) => name !== undefined)
  const byClient = Object.entries(fieldsOf(user.clientRoles))
  return {
    id: textOf(user.id),
    email: textOf(user.email),
    verified: isTrue(user.emailVerified),
    name: textOf(names.join(' ')) ?? textOf(user.username),
    locale: textsOf(fieldsOf(user.attributes).locale)[0],
    roles: [
      ...textsOf(user.realmRoles),
      ...byClient.flatMap(([client, roles]) => textsOf(roles).map((role) => `${client}/${role}`)),
    ],
    disabled: !isTrue(user.enabled),
    gone: textOf(user.serviceAccountClientId) !== undefined,
    createdAt: instant(user.createdTimestamp),
    hash: convert(partsOf('password'), ({ secret, data }) => fromKeycloak(secret, data)),
    totp: convert(partsOf('otp'), ({ secret, data }) => keycloakTotp(textOf(secret.value), data)),
  }
}

function keycloakTotp(secret: string | undefined, data: Fields): string | null {
  const { subType, digits = 6, period = 30, algorithm = 'HmacSHA1', secretEncoding } = data
  if (secret === undefined || subType !== 'totp' || digits !== 6 || period !== 30 || algorithm !== 'HmacSHA1')
    return null
  return secretEncoding === 'BASE32' ? readTotp(secret) : ofCharacters(secret)
}

/** A line of the export of password hashes that Auth0 makes on request, or of a bulk import; both may know more of it. */
function readAuth0(user: Fields): Person {
  const id = textOf(fieldsOf(user._id).$oid)
  const app = fieldsOf(user.app_metadata)
  const hash = textOf(user.passwordHash) ?? textOf(user.password_hash)
  const custom = user.custom_password_hash === undefined ? undefined : fieldsOf(user.custom_password_hash)
  const factors = listOf(user.mfa_factors).map((factor) => textOf(fieldsOf(fieldsOf(factor).totp).secret))
  return {
    id: textOf(user.user_id) ?? convert(id, (one) => `auth0|${one}`),
    email: textOf(user.email),
    verified: isTrue(user.email_verified),
    name: textOf(user.name) ?? textOf(user.nickname),
    locale: textOf(fieldsOf(user.user_metadata).locale),
    roles: [...textsOf(user.roles), ...textsOf(app.roles)],
    disabled: isTrue(user.blocked),
    gone: false,
    createdAt: instant(user.created_at),
    hash: convert(hash, fromText) ?? convert(custom, fromAuth0),
    totp: convert(
      factors.find((secret) => secret !== undefined),
      readTotp,
    ),
  }
}

/** A user as `firebase auth:export` writes one. Secrets of second factors are not in it. */
function readFirebase(user: Fields, parameters: FirebaseParameters | undefined): Person {
  const claims = fieldsOf(user.customAttributes)
  const [hash, salt] = [textOf(user.passwordHash), textOf(user.salt)]
  return {
    id: textOf(user.localId),
    email: textOf(user.email),
    verified: isTrue(user.emailVerified),
    name: textOf(user.displayName),
    locale: textOf(claims.locale),
    roles: [...textsOf(claims.roles), ...textsOf(claims.role)],
    disabled: isTrue(user.disabled),
    gone: false,
    createdAt: instant(user.createdAt),
    hash: convert(hash, (one) => (parameters && salt !== undefined ? fromFirebase(parameters, salt, one) : null)),
    totp: listOf(user.mfaInfo).length > 0 ? null : undefined,
  }
}

/** A row of the query in docs/moving-in.md: a user, the hash of its account, and the secret of its app as a URI. */
function readBetterAuth(user: Fields): Person {
  return {
    id: textOf(user.id),
    email: textOf(user.email),
    verified: isTrue(user.emailVerified),
    name: textOf(user.name),
    locale: textOf(user.locale),
    roles: textsOf(user.role),
    disabled: isTrue(user.banned),
    gone: isTrue(user.isAnonymous),
    createdAt: instant(user.createdAt),
    hash: convert(textOf(user.password), fromText),
    totp: convert(textOf(user.totp), readTotp) ?? (isTrue(user.twoFactorEnabled) ? null : undefined),
  }
}

/** A row with columns of our own names, from anywhere. */
function readRow(row: Fields): Person {
  return {
    id: textOf(row.id),
    email: textOf(row.email),
    verified: isTrue(row.verified),
    name: textOf(row.name),
    locale: textOf(row.locale),
    roles: textsOf(row.roles),
    disabled: isTrue(row.disabled),
    gone: false,
    createdAt: instant(row.created_at),
    hash: convert(textOf(row.password_hash), fromText),
    totp: convert(textOf(row.totp), readTotp),
  }
}
