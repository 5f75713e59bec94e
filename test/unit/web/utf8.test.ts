import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import fc from 'fast-check'
import type { Context } from 'hono'
import { expect, test } from 'vitest'
import { headersRead, utf8Headers } from '../../../src/web/middleware/utf8.ts'
import { hasUtf8Escapes, utf8Text } from '../../../src/web/utf8.ts'

const root = path.resolve(import.meta.dirname, '../../..')

/** An independent check: `Buffer` decodes leniently, and gives the same bytes again only if it replaced nothing. */
const isUtf8 = (bytes: Uint8Array) => Buffer.from(Buffer.from(bytes).toString('utf8')).equals(bytes)

const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 12 }),
  fc.string({ unit: 'grapheme', maxLength: 6 }).map((text) => new Uint8Array(Buffer.from(text))),
)

test('bytes are decoded completely, or refused', () => {
  fc.assert(
    fc.property(bytes, (bytes) => {
      const text = utf8Text(bytes)
      if (isUtf8(bytes)) expect(Buffer.from(text!)).toEqual(Buffer.from(bytes))
      else expect(text).toBeNull()
    }),
  )
})

test('a byte order mark is kept as text', () => {
  expect(utf8Text(Uint8Array.of(0xef, 0xbb, 0xbf, 0x61))).toBe('\ufeffa')
})

test('percent-encoded text is checked by its bytes', () => {
  fc.assert(
    fc.property(bytes, fc.constantFrom('', 'a', '%', '%z', '%4', '\u00e9'), (bytes, around) => {
      const escapes = Buffer.from(bytes).toString('hex').replace(/../g, '%$&')
      expect(hasUtf8Escapes(`${around}${escapes}?${around}`)).toBe(isUtf8(bytes))
    }),
  )
})

test('an incomplete escape ends the sequence of bytes before it', () => {
  for (const text of ['%E9', '%C3x%A9', '%C3%zz%A9', '%E0%A4%A', '%ED%A0%80', '%C0%AF', '%c3%A9%fF'])
    expect(hasUtf8Escapes(text), text).toBe(false)
  for (const text of ['', '%', '%%', '%zz', '%E', '%C3%A9', '%c3%a9%41', '%25E9', '%EF%BB%BF', '%00', 'E9'])
    expect(hasUtf8Escapes(text), text).toBe(true)
})

test('a header that the runtime cannot decode is refused, unless Banyan does not read it', async () => {
  const sent = async (headers: Record<string, string>) => {
    const context = { req: { header: (name: string) => headers[name] } } as unknown as Context
    return utf8Headers()(context, async () => undefined)
  }
  for (const name of headersRead)
    await expect(sent({ [name]: 'caf\ufffd' }), name).rejects.toMatchObject({
      code: 'MALFORMED_UTF8',
      message: expect.stringContaining(`The header ${name} is not UTF-8.`),
    })
  for (const cookie of ['__Host-session=%E9', 'a=b; __Host-stamp=x%C0%AF', 'a=b;__Host-causal=%ED%A0%80;c=d'])
    await expect(sent({ cookie }), cookie).rejects.toMatchObject({ code: 'MALFORMED_UTF8' })
  await sent({ 'x-other': 'caf\ufffd', 'user-agent': 'Käfer 🌳', cookie: 'legacy=%E9; __Host-session=a%C3%A9; x=y' })
})

test('every header that the web tier reads is checked', () => {
  const sources = globSync(['src/{web,app,console,assets,sessions}/**/*.{ts,tsx}', 'workers/*.ts'], { cwd: root })
  const names = sources.flatMap((file) =>
    [
      ...readFileSync(path.join(root, file), 'utf8').matchAll(
        /(?:req\.header|request\.headers\.(?:get|has))\('([^']+)'\)/g,
      ),
    ].map(([, name]) => name!),
  )
  expect([...new Set(names)].toSorted()).toEqual(headersRead)
})
