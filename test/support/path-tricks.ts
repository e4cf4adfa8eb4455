/** Ways to write the path of something that the client may not reach, from below something that everybody may. */
export const pathTricks: Record<string, string[]> = {
  'as it is': [
    '/admin',
    '/admin/',
    '/admin/users',
    '/admin?x',
    '/internal/revocations',
    '/metrics',
    '/healthz',
    '/readyz',
  ],
  'dot segments': [
    '/open/../admin',
    '/open/./../admin',
    '/open/x/../../admin',
    '/./admin',
    '/../admin',
    '/../../../admin',
    '/open/..',
    '/open/.',
    '/admin/.',
    '/admin/../open',
    '/.',
    '/..',
    '/open/.../../../admin',
  ],
  'dot segments, encoded': [
    '/open/%2e%2e/admin',
    '/open/%2E%2E/admin',
    '/open/.%2e/admin',
    '/open/%2e./admin',
    '/%2e/admin',
    '/open/%2e%2e%2fadmin',
    '/open/..%2fadmin',
    '/open%2f..%2fadmin',
    '/open/%2e%2e%5cadmin',
  ],
  'encoded twice and more': [
    '/open/%252e%252e/admin',
    '/open/%252e%252e%252fadmin',
    '/open/%25252e%25252e/admin',
    '/open/..%252fadmin',
    '/%2561dmin',
    '/%25%36%31dmin',
    '/open/%%32%65%%32%65/admin',
  ],
  'letters encoded': [
    '/%61dmin',
    '/%61%64%6d%69%6e',
    '/a%64min',
    '/%41dmin',
    '/adm%69n/users',
    '/%6detrics',
    '/%69nternal',
  ],
  'broken encoding': [
    '/%',
    '/open/%',
    '/open/%2',
    '/open/%zz',
    '/open/%u002e%u002e/admin',
    '/open/%2%65',
    '/%-2e/admin',
  ],
  backslashes: [
    '/open\\..\\admin',
    '/open/..\\admin',
    '\\admin',
    '/\\admin',
    '/open%5c..%5cadmin',
    '/%5cadmin',
    '/admin\\',
  ],
  'path parameters': [
    '/open;/../admin',
    '/open/..;/admin',
    '/admin;',
    '/admin;x=y',
    '/;/admin',
    '/.;/admin',
    '/open/..;x/admin',
    '/admin%3b',
    '/open/..%3b/admin',
    '/a;b/../admin',
  ],
  'empty segments': [
    '//admin',
    '///admin',
    '/open//../admin',
    '/open//',
    '//',
    '/admin//',
    '/./admin',
    '/%2fadmin',
    '/open/%2f%2fadmin',
  ],
  'absolute form': [
    'http://gateway/admin',
    'http://evil.test/open',
    'HTTP://gateway/open',
    'https://gateway/open/../admin',
    'http://gateway:80/admin',
    'http://user@gateway/open',
    'http:///admin',
    'http:/admin',
    'file:///admin',
    'ws://gateway/admin',
    '//evil.test/admin',
    '//evil.test',
  ],
  'authority and asterisk form': [
    'gateway:80',
    'evil.test:443',
    '*',
    '/*',
    '**',
    '?',
    '#',
    '.',
    '..',
    '@',
    ':80/admin',
    '@evil.test/',
  ],
  'null and controls': [
    '/admin%00',
    '/open%00/../admin',
    '/%00/admin',
    '/admin%00.png',
    '/open\0/admin',
    '/admin%0a',
    '/admin%0d%0aX-User-Id:%20forged',
    '/admin%09',
    '/admin\t',
    '/\tadmin',
    '/admin%7f',
    '/admin%1f',
    '/admin\x0b',
    '/admin\r',
    '/adm\nin',
    '/open%e2%80%8b/../admin',
  ],
  'overlong and broken UTF-8': [
    '/open/%c0%ae%c0%ae/admin',
    '/open/%c0%2e%c0%2e/admin',
    '/open%c0%afadmin',
    '/open/%e0%80%ae%e0%80%ae/admin',
    '/open/%f0%80%80%ae/admin',
    '/open/..%c1%9cadmin',
    '/%c1%a1dmin',
    '/open/%ff',
    '/open/%ed%a0%80',
    '/open/\xc0\xae\xc0\xae/admin',
    '/open/\xff',
    '/\xe1dmin',
  ],
  'look-alikes in Unicode': [
    '/%ef%bd%81%ef%bd%84%ef%bd%8d%ef%bd%89%ef%bd%8e',
    '/open/%ef%bc%8e%ef%bc%8e/admin',
    '/open%ef%bc%8f..%ef%bc%8fadmin',
    '/open/..%ef%bc%8fadmin',
    '/open%ef%bc%bc..%ef%bc%bcadmin',
    '/open/%e2%80%a5/admin',
    '/open/%e2%80%a4%e2%80%a4/admin',
    '/adm%c4%b1n',
    '/%e2%84%8amin',
    '/%e1%b5%83dmin',
    '/admin%ef%bc%9bx',
    '/internal%ef%bc%8frevocations',
  ],
  'other case': [
    '/ADMIN',
    '/Admin/users',
    '/aDMIN',
    '/METRICS',
    '/Internal/revocations',
    '/HealthZ',
    '/OPEN/../admin',
    '/%41DMIN',
  ],
  fragments: ['/open#/../admin', '/admin#', '/open%23/../admin', '/#/admin', '/open#', '/admin#/open'],
  'questions of a query': [
    '/admin?/open',
    '/admin?/../open',
    '/open?/../admin',
    '/open%3f/../admin',
    '/admin%3fx',
    '/?/admin',
    '/admin??',
    '/admin?#',
    '/open?x=/admin',
    '/open?\\..\\admin',
  ],
  'spaces and the end of the line': [
    '/admin ',
    ' /admin',
    '/open /admin',
    '/open HTTP/1.1',
    '/admin HTTP/1.0',
    '/admin+',
    '/ad min',
    '/admin%20',
  ],
  'nearly the name': [
    '/adminx',
    '/admin.',
    '/admin~',
    '/.admin',
    '/admin:80',
    '/admin,',
    '/admin=',
    '/admin&x',
    '/admin@',
    '/xadmin',
  ],
  'very long': [
    `/${'a/'.repeat(2_000)}../admin`,
    `/open/${'../'.repeat(500)}admin`,
    `/${'%61'.repeat(1_000)}`,
    `/admin/${'x'.repeat(20_000)}`,
  ],
  'a prefix too many': [
    '/open/admin',
    '/open/internal',
    '/open/metrics',
    '/internal',
    '/internal/',
    '/internals',
    '/metrics/',
    '/readyz/x',
  ],
}

/** A path as the most lenient server might read it. */
export function readLeniently(target: string): string {
  let path = target.split(/[?#]/, 1)[0] as string
  for (let before = ''; before !== path; ) {
    before = path
    path = path.replace(/%([0-9a-f]{2})/gi, (_, digits) => String.fromCharCode(Number.parseInt(digits, 16)))
    const bytes = Buffer.from(path, 'latin1')
    if (/[\x80-\xff]/.test(path)) path = bytes.toString().includes('\ufffd') ? path : bytes.toString()
    path = path.normalize('NFKC').toUpperCase().toLowerCase()
    path = path
      .replaceAll('\\', '/')
      .replace(/;[^/]*/g, '')
      .replace(/[\0-\x20\x7f]/g, '')
      .split(/[?#]/, 1)[0] as string
    path = new URL(path.replace(/^\/*/, 'http://x/')).pathname.replace(/\/+/g, '/').replace(/[\s.]+(?=\/|$)/g, '')
  }
  return path
}

/** What a path, read leniently, may not be but for those who are allowed there. */
export const guarded = /^\/(admin|internal|metrics|healthz|readyz)(\/|$)/

/** The one form in which a path may arrive: what needs no encoding as it is, everything else in upper case. */
export function decodeOnce(path: string): string {
  return path.replace(/%([0-9a-f]{2})/gi, (encoded, digits) => {
    const character = String.fromCharCode(Number.parseInt(digits, 16))
    return /[\w.~-]/.test(character) ? character : encoded.toUpperCase()
  })
}
