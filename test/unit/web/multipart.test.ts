import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseMultipart } from '../../../src/web/multipart.ts'

const bytesOf = async (form: FormData) => {
  const request = new Request('http://localhost', { method: 'POST', body: form })
  return { body: await request.arrayBuffer(), type: request.headers.get('content-type')! }
}

test('the parts of a form that a browser sends', async () => {
  const form = new FormData()
  const file = Uint8Array.from({ length: 1_000 }, (_, at) => (at % 7 === 0 ? 13 : at % 256))
  form.append('text', 'two\r\nlines, ü')
  form.append('picture1', new Blob([file]), 'a "name".png')
  form.append('picture2', new Blob([]), 'empty.png')
  form.append('empty', '')
  const { body, type } = await bytesOf(form)
  const parts = parseMultipart(body, type)!
  expect(parts.fields.map(([name, value]) => [name, new TextDecoder().decode(value)])).toEqual([
    ['text', 'two\r\nlines, ü'],
    ['empty', ''],
  ])
  expect(parts.files.map(({ field, bytes }) => [field, bytes.length])).toEqual([
    ['picture1', 1_000],
    ['picture2', 0],
  ])
  expect(Buffer.from(parts.files[0]!.bytes).equals(Buffer.from(file))).toBe(true)
})

test('a file input without a file is left out', () => {
  const part = '--b\r\nContent-Disposition: form-data; name="a"; filename=""\r\nContent-Type: x/y\r\n\r\n\r\n--b--\r\n'
  const body = Uint8Array.from(Buffer.from(part)).buffer
  expect(parseMultipart(body, 'multipart/form-data; boundary=b')).toEqual({ fields: [], files: [] })
})

test('a form that ends early, names no boundary or has too many parts is refused', async () => {
  const form = new FormData()
  form.append('text', 'x')
  const { body, type } = await bytesOf(form)
  expect(parseMultipart(body, 'multipart/form-data')).toBeNull()
  expect(parseMultipart(body, type.replace('boundary=', 'boundary=x'))).toBeNull()
  for (let end = 0; end < body.byteLength - 4; end++) expect(parseMultipart(body.slice(0, end), type)).toBeNull()
  for (let n = 0; n < 40; n++) form.append(`field${n}`, '')
  const many = await bytesOf(form)
  expect(parseMultipart(many.body, many.type)).toBeNull()
})

test('any bytes are parsed without an exception', () => {
  const piece = fc.constantFrom(
    '\r\n',
    '--b',
    '--',
    'Content-Disposition: form-data; name="a"',
    '; filename="f"',
    '\r\n\r\n',
    'x',
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
      const body = Uint8Array.from(Buffer.from(pieces.join('')))
      parseMultipart(body.buffer, 'multipart/form-data; boundary=b')
    }),
    { numRuns: 2_000 },
  )
})
