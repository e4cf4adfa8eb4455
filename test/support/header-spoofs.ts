import { type Identity, identityHeaders } from '@sallyport/identity'
import type { Recorded } from './edge.ts'

/** Lines of a header that try to make a name arrive with the value `forged`. `\r\n` goes between them. */
type Shape = (name: string) => string[]

const title = (name: string) => name.replace(/\b[a-z]/g, (letter) => letter.toUpperCase())
const alternating = (name: string) => [...name].map((c, at) => (at % 2 ? c.toUpperCase() : c)).join('')
const utf8 = (text: string) => Buffer.from(text).toString('latin1')

/** All characters but letters and digits that a header name may have (RFC 9110 section 5.6.2), and some that it may not. */
const separators = [..."_.!#$%&'*+^`|~"]
const noToken = [...'\0\t\v\f\x1f "(),/;<=>?@[\\]{}\x7f\x80\xa0\xad\xff']

const shapes: Record<string, Shape> = {
  'as it is': (name) => [`${name}: forged`],
  'no space after the colon': (name) => [`${name}:forged`],
  'a tab after the colon': (name) => [`${name}:\tforged`],
  'space around the value': (name) => [`${name}: \t forged \t `],
  'upper case': (name) => [`${name.toUpperCase()}: forged`],
  'title case': (name) => [`${title(name)}: forged`],
  'alternating case': (name) => [`${alternating(name)}: forged`],
  ...Object.fromEntries(
    separators.map((separator) => [
      `${separator} for -`,
      (name: string) => [`${name.replaceAll('-', separator)}: forged`],
    ]),
  ),
  '_ for the first -': (name) => [`${name.replace('-', '_')}: forged`],
  '. for the last -': (name) => [`${name.replace(/-([^-]*)$/, '.$1')}: forged`],
  '_ and . mixed': (name) => [`${name.replace('-', '_').replace('-', '.')}: forged`],
  '_ in upper case': (name) => [`${name.toUpperCase().replaceAll('-', '_')}: forged`],
  '. in title case': (name) => [`${title(name).replaceAll('-', '.')}: forged`],
  doubled: (name) => [`${name}: forged`, `${name}: forged`],
  'doubled in two spellings': (name) => [`${name}: forged`, `${name.replaceAll('-', '_')}: forged`],
  'doubled, first empty': (name) => [`${name}:`, `${name}: forged`],
  'doubled in one line': (name) => [`${name}: forged, forged`],
  'fifty times': (name) => Array.from({ length: 50 }, () => `${name}: forged`),
  empty: (name) => [`${name}:`],
  'very long': (name) => [`${name}: ${'forged'.repeat(1_000)}`],
  'in Connection': (name) => [`${name}: forged`, `Connection: ${name}`],
  'in Connection alone': (name) => [`Connection: ${name}`],
  'in Connection before close': (name) => [`Connection: ${name}, close`],
  'in Connection after close': (name) => [`Connection: close, ${name}`],
  'in Connection with keep-alive': (name) => [`Connection: keep-alive,${name} ,, close`],
  'in Connection in upper case': (name) => [`CONNECTION: CLOSE, ${name.toUpperCase()}`],
  'in Connection with _': (name) => [`Connection: ${name.replaceAll('-', '_')}, close`],
  'in Connection with a tab': (name) => [`Connection: close,\t${name}\t`],
  'in Connection, quoted': (name) => [`Connection: close, "${name}"`],
  'in Connection, with all others': () => [`Connection: ${Object.values(identityHeaders).join(', ')}`],
  'in Connection, with what else identity needs': (name) => [`Connection: ${name}, authorization, host, via`],
  'in two Connections': (name) => [`Connection: ${name}`, `Connection: x-nothing, ${name}`],
  'in Proxy-Connection': (name) => [`Proxy-Connection: ${name}`, `${name}: forged`],
  'in Keep-Alive': (name) => [`Keep-Alive: ${name}`, `${name}: forged`],
  'in TE': (name) => [`TE: trailers, ${name}`, `${name}: forged`],
  'in Upgrade': (name) => [`Upgrade: ${name}`, `${name}: forged`],
  'in Vary': (name) => [`Vary: ${name}`, `${name}: forged`],
  'folded onto another line': (name) => ['X-Other: a', ` ${name}: forged`],
  'folded with a tab': (name) => ['X-Other: a', `\t${name}: forged`],
  'folded itself': (name) => [`${name}:`, ' forged'],
  'folded from Connection': (name) => ['Connection: close,', ` ${name}`],
  'as the first line, folded': (name) => [` ${name}: forged`],
  'after a bare CR': (name) => [`X-Other: a\r${name}: forged`],
  'after a bare LF': (name) => [`X-Other: a\n${name}: forged`],
  'after LF CR': (name) => [`X-Other: a\n\r${name}: forged`],
  'after two CR': (name) => [`X-Other: a\r\r\n${name}: forged`],
  'after an encoded line break': (name) => [`X-Other: a%0d%0a${name}: forged`],
  'after NUL': (name) => [`X-Other: a\0${name}: forged`],
  'after a line break in UTF-8': (name) => [`X-Other: ${utf8('\u010d\u010a\u2028')}${name}: forged`],
  'a space before the colon': (name) => [`${name} : forged`],
  'a tab before the colon': (name) => [`${name}\t: forged`],
  'a space in the name': (name) => [`${name.replace('-', ' ')}: forged`],
  'a line break before the colon': (name) => [name, ': forged'],
  'no colon': (name) => [name],
  'a colon before': (name) => [`:${name}: forged`],
  'two colons': (name) => [`${name}:: forged`],
  'NUL in the value': (name) => [`${name}: for\0ged`],
  'NUL at the end': (name) => [`${name}\0: forged`],
  'encoded as in a URL': (name) => [`${name.replaceAll('-', '%2d')}: forged`],
  'encoded as in mail': (name) => [`=?utf-8?q?${name}?=: forged`],
  'a Cyrillic x': (name) => [`${utf8('х')}${name.slice(1)}: forged`],
  'a full-width hyphen': (name) => [`${name.replaceAll('-', utf8('－'))}: forged`],
  'a Unicode hyphen': (name) => [`${name.replaceAll('-', utf8('\u2010'))}: forged`],
  'a zero-width space': (name) => [`${name}${utf8('\u200b')}: forged`],
  'a BOM': (name) => [`${utf8('\ufeff')}${name}: forged`],
  'the Kelvin sign': (name) => [`${name.replace('k', utf8('\u212a'))}: forged`],
  ...Object.fromEntries(
    noToken.map((character) => [
      `${JSON.stringify(character)} in the name`,
      (name: string) => [`${name.replace('-', character)}: forged`],
    ]),
  ),
  'under another identity’s name': (name) => [`X-User-Id: ${name}: forged`],
  'in a cookie': (name) => [`Cookie: ${name}=forged`],
  'in Forwarded': (name) => [`Forwarded: for=forged;${name}=forged`, `X-Forwarded-For: forged`],
}

/** The same in a body that is sent in chunks. */
const trailers: Record<string, (name: string) => string> = {
  'a trailer': (name) => `0\r\n${name}: forged\r\n\r\n`,
  'a trailer in upper case': (name) => `0\r\n${name.toUpperCase()}: forged\r\n\r\n`,
  'a trailer with _': (name) => `0\r\n${name.replaceAll('-', '_')}: forged\r\n\r\n`,
  'a trailer after a piece': (name) => `2\r\nok\r\n0\r\nx-more: a\r\n${name}: forged\r\n${name}: forged\r\n\r\n`,
  'a folded trailer': (name) => `0\r\nx-more: a\r\n ${name}: forged\r\n\r\n`,
  'a chunk extension': (name) => `2;${name}=forged\r\nok\r\n0;${name}="forged"\r\n\r\n`,
  'a chunk extension with a line break': (name) => `2;a="\r\n${name}: forged\r\n\r\n"\r\nok\r\n0\r\n\r\n`,
}

export const names: string[] = Object.values(identityHeaders)
const canonical = (name: string) => name.toLowerCase().replace(/[^a-z0-9]/g, '-')

/** All of them with every name. */
export const headerSpoofs = names.flatMap((name) => [
  ...Object.entries(shapes).map(([how, shape]) => ({ name, how, lines: shape(name), body: '' })),
  ...Object.entries(trailers).map(([how, body]) => ({
    name,
    how,
    lines: [`Trailer: ${name}`, 'Transfer-Encoding: chunked'],
    body: body(name),
  })),
])

/**
 * What is wrong with what reached a service, if anything.
 *
 * @param user who is calling
 * @param identityOf verifies an assertion of ours
 * @param responseId the id of the request, where the response says it
 */
export function identityFaults(
  { rawHeaders, trailers }: Recorded,
  user: Identity | undefined,
  identityOf: (assertion: string) => Identity | undefined,
  responseId: string | undefined,
): string[] {
  const pairs = rawHeaders.flatMap((name, at): [string, string][] =>
    at % 2 === 0 ? [[name.toLowerCase(), rawHeaders[at + 1] as string]] : [],
  )
  const said = pairs.filter(([name]) => names.includes(canonical(name)))
  const values = Object.fromEntries(said)
  const expected: Record<string, string | undefined> = {
    // The response to an upgrade is the service's own, without our id.
    [identityHeaders.requestId]: responseId ?? /^[0-9a-f-]{36}$/.exec(values[identityHeaders.requestId] ?? '')?.[0],
    ...(user
      ? {
          [identityHeaders.caller]: user.caller,
          [identityHeaders.sessionId]: user.sessionId,
          ...(user.clientId
            ? { [identityHeaders.clientId]: user.clientId }
            : { [identityHeaders.userId]: user.userId, [identityHeaders.email]: user.email }),
        }
      : {}),
    ...(user?.role ? { [identityHeaders.role]: user.role, [identityHeaders.roles]: user.roles.join() } : {}),
    ...(user?.scopes ? { [identityHeaders.scopes]: user.scopes.join(' ') } : {}),
    ...(user?.act ? { [identityHeaders.actorId]: user.act.sub } : {}),
    ...(user?.acr ? { [identityHeaders.acr]: user.acr } : {}),
    ...(user?.authTime ? { [identityHeaders.authTime]: String(user.authTime) } : {}),
  }
  const found: string[] = []
  if (said.length !== Object.keys(values).length) found.push('an identity header is there twice')
  for (const [name, value] of Object.entries(expected)) if (values[name] !== value) found.push(`${name} is not ours`)
  const assertion = values[identityHeaders.assertion]
  if (user && JSON.stringify(identityOf(assertion ?? '')) !== JSON.stringify(user))
    found.push('the assertion is not ours')
  if (said.length !== Object.keys(expected).length + (user ? 1 : 0))
    found.push(`more than ours: ${Object.keys(values)}`)
  if (trailers.length > 0) found.push('trailers')
  return found
}
