import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type CsvForm, CsvRecords } from '../../../../src/cli/import/csv.ts'
import { type Decoder, decoderOf, encodingOf } from '../../../../src/cli/import/encodings.ts'
import { CUT_OFF, NOT_TEXT } from '../../../../src/cli/import/odd-text.ts'
import { SqlStatements, tableOf } from '../../../../src/cli/import/sql-statements.ts'

const cut = <T extends { length: number; slice(start: number, end?: number): T }>(whole: T, cuts: number[]): T[] => {
  const places = [...new Set(cuts.map((place) => place % (whole.length + 1)))].sort((a, b) => a - b)
  return [...places, whole.length].map((end, index) => whole.slice(index === 0 ? 0 : places[index - 1]!, end))
}

function decoded(decoder: Decoder, bytes: Buffer, cuts: number[]): string {
  const pieces = cut<Buffer>(bytes, cuts).map((piece) => decoder.push(piece))
  return pieces.join('') + decoder.end()
}

const bytesOf = {
  'utf-8': (text: string) => Buffer.from(text),
  'utf-16le': (text: string) => Buffer.from(text, 'utf16le'),
  'utf-16be': (text: string) => Buffer.from(text, 'utf16le').swap16(),
} as const

describe.each(Object.keys(bytesOf) as (keyof typeof bytesOf)[])('%s', (encoding) => {
  test('is decoded as it was written, wherever the pieces end', () => {
    const characters = ['a', '\0', '\n', 'é', '\u07ff', '\u0800', '€', '\ufeff', '\ufffd', '\uffff', '🌳', '\u{10ffff}']
    const text = fc.string({ unit: fc.constantFrom(...characters) })
    fc.assert(
      fc.property(text, fc.array(fc.nat()), (written, cuts) => {
        const decoder = decoderOf(encoding)
        expect(decoded(decoder, bytesOf[encoding](written), cuts)).toBe(written)
        expect(decoder.hasOddBytes).toBe(false)
      }),
    )
  })

  test('invalid bytes are marked, and the text around them stays', () => {
    const odd = encoding === 'utf-8' ? Buffer.from([0xe9]) : bytesOf[encoding]('\ud83c')
    fc.assert(
      fc.property(fc.array(fc.nat()), (cuts) => {
        const decoder = decoderOf(encoding)
        const bytes = Buffer.concat([bytesOf[encoding]('a\ufffd🌳'), odd, bytesOf[encoding]('ü\ufffd'), odd])
        expect(decoded(decoder, bytes, cuts)).toBe(`a\ufffd🌳${NOT_TEXT}ü\ufffd${NOT_TEXT}`)
        expect(decoder.hasOddBytes).toBe(true)
      }),
    )
  })
})

test('any bytes are decoded, with marks where the platform’s UTF-8 decoder has them', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), fc.array(fc.nat()), (bytes, cuts) => {
      const text = decoded(decoderOf('utf-8'), Buffer.from(bytes), cuts)
      const platforms = new TextDecoder('utf-8', { ignoreBOM: true, fatal: false }).decode(bytes)
      expect(text.replaceAll(NOT_TEXT, '\ufffd')).toBe(platforms)
    }),
  )
})

test.each([
  [[0xff, 0xfe, 0x69, 0x00], 'utf-16le'],
  [[0xfe, 0xff, 0x00, 0x69], 'utf-16be'],
  [[0x69, 0x00, 0x64, 0x00], 'utf-16le'],
  [[0x00, 0x69, 0x00, 0x64], 'utf-16be'],
  [[0xef, 0xbb, 0xbf, 0x69], 'utf-8'],
  [[0x69, 0x64, 0x2c, 0x00], 'utf-8'],
  [[0x69], 'utf-8'],
])('bytes %j start a file in %s', (bytes, encoding) => {
  expect(encodingOf(Buffer.from(bytes))).toBe(encoding)
})

describe('records', () => {
  const cell = fc.string({ unit: fc.constantFrom('a', '"', ',', ';', '\t', '\\', 'N', '\r', '\n', 'é', '🌳') })
  const rows = fc.array(fc.array(fc.option(cell), { minLength: 2, maxLength: 4 }), { minLength: 1, maxLength: 4 })
  const quoted = (delimiter: string) => (row: (string | null)[]) =>
    `${row.map((one) => (one === null ? '\\N' : `"${one.replaceAll('"', '""')}"`)).join(delimiter)}\n`
  const mysql = (row: (string | null)[]) =>
    `${row.map((one) => (one === null ? '\\N' : `"${one.replace(/["\\\r\n]/g, '\\$&')}"`)).join(',')}\n`
  const escaped = (one: string) =>
    one.replaceAll('\\', '\\\\').replaceAll('\t', '\\t').replaceAll('\n', '\\n').replaceAll('\r', '\\r')
  const postgres = (row: (string | null)[]) => `${row.map((one) => (one === null ? '\\N' : escaped(one))).join('\t')}\n`
  const form = (delimiter: string, hasQuotes: boolean, hasEscapes: boolean): CsvForm => ({
    delimiter,
    hasQuotes,
    hasEscapes,
    nulls: ['\\N'],
  })

  test.each([
    ['quoted, with ;', form(';', true, false), quoted(';')],
    ['quoted, with |', form('|', true, false), quoted('|')],
    ['quoted and escaped, as MySQL writes', form(',', true, true), mysql],
    ['escaped, as PostgreSQL writes', form('\t', false, true), postgres],
  ])('%s: are read as they were written, wherever the pieces end', (_name, how, write) => {
    fc.assert(
      fc.property(rows, fc.array(fc.nat()), (written, cuts) => {
        const reader = new CsvRecords(how)
        const pieces = cut<string>(written.map(write).join(''), cuts)
        expect([...pieces.flatMap((piece) => reader.push(piece)), ...reader.end()]).toEqual(written)
      }),
    )
  })

  const HUGE = 2_500_000
  test.each([
    ['quoted', `"${'x""\n,'.repeat(HUGE / 5)}"`],
    ['plain', 'x'.repeat(HUGE)],
  ])('only a record with a huge %s field is truncated', (_name, field) => {
    const text = `a,b,c\n1,${field},3\r\n4,5,6\n`
    for (const size of [1_000_003, 1_048_576, text.length]) {
      const reader = new CsvRecords()
      const pieces = Array.from({ length: Math.ceil(text.length / size) }, (_, at) =>
        text.slice(at * size, (at + 1) * size),
      )
      const records = [...pieces.flatMap((piece) => reader.push(piece)), ...reader.end()]
      expect(records.map((record) => [record[0], record.at(-1)])).toEqual([
        ['a', 'c'],
        ['1', CUT_OFF],
        ['4', '6'],
      ])
    }
  })

  test('an unclosed quote is found at the end, however long the field is', () => {
    const reader = new CsvRecords()
    reader.push(`a,b\n1,"${'x'.repeat(HUGE)}`)
    expect(() => reader.end()).toThrow('Line 2: a quote is not closed.')
  })
})

test.each([
  ['one line', () => ['--', ...Array.from({ length: 5 }, () => ' a;'.repeat(400_000))]],
  ['many lines', () => Array.from({ length: 5 }, () => "-- it's;\n".repeat(200_000))],
  ['one block', () => ['/*', ...Array.from({ length: 5 }, () => ' a;'.repeat(400_000)), '*/']],
])('a long comment of %s hides no statement', (_name, comment) => {
  const statements = new SqlStatements((statement) => statement.includes('users'))
  const found = [...comment(), '\nINSERT INTO users VALUES (1);'].flatMap((piece) => statements.push(piece))
  expect(found.map(tableOf)).toEqual([{ table: 'users', makes: false }])
})

test('a long statement that is not wanted is reduced to its beginning', () => {
  const statements = new SqlStatements((statement) => statement.includes('users'))
  const found = [
    ...statements.push('INSERT INTO files VALUES ('),
    ...Array.from({ length: 17 }, () => statements.push(`'${'x;'.repeat(2_097_150)}',`)).flat(),
    ...statements.push('1);\nINSERT INTO users VALUES (1);'),
  ]
  expect(found.map((statement) => statement.trim().slice(0, 24))).toEqual([
    'INSERT INTO files VALUES',
    'INSERT INTO users VALUES',
  ])
  expect(found[0]!.length).toBeLessThan(10_000)
  const wanted = new SqlStatements()
  expect(() => Array.from({ length: 5 }, () => wanted.push('x'.repeat(16_777_216)))).toThrow('more than 64 million')
})
