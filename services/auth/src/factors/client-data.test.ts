import fc from 'fast-check'
import t from 'tap'
import { readClientData } from './client-data.ts'

const read = (text: string) => readClientData(Buffer.from(text).toString('base64url'))

t.test('what browsers say is read, also with members of no name that is known', async (t) => {
  for (const text of [
    '{"type":"webauthn.get","challenge":"AAAA","origin":"https:\\/\\/app.test","crossOrigin":false}',
    '{"challenge":"AAAA","origin":"https://app.test","type":"webauthn.get"}',
    '{"type":"webauthn.get","tokenBinding":{"status":"supported"},"other_keys_can_be_added_here":"do not: \\"type\\":"}',
  ])
    t.doesNotThrow(() => read(text), text)
  fc.assert(
    fc.property(fc.dictionary(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' })), (members) => {
      read(JSON.stringify({ ...members, crossOrigin: false, topOrigin: undefined }))
    }),
  )
})

t.test('a member that is there twice is refused, however it is written', async (t) => {
  for (const text of [
    '{"type":"a","type":"a"}',
    '{"type":"a", "origin":"b" , "type" \n : "c"}',
    '{"type":"a","t\\u0079pe":"c"}',
    '{"a":":","a":1}',
    '{"a\\"":1,"a\\"":1}',
  ])
    t.throws(() => read(text), { message: /twice/ }, text)
})

t.test('a frame is refused', async (t) => {
  for (const member of [
    '"crossOrigin":true',
    '"crossOrigin":null',
    '"crossOrigin":0',
    '"topOrigin":"https://app.test"',
    '"topOrigin":null',
  ])
    t.throws(() => read(`{${member}}`), { message: /frame/ }, member)
})
