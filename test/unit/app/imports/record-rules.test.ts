import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { operator } from '../../../../src/app/imports/import.operator.ts'
import * as rules from '../../../../src/app/imports/record-rules.ts'
import { isRefusal as isServersRefusal, readRecord } from '../../../../src/app/imports/records.ts'
import { BLOB, NOT_TEXT, NUL } from '../../../../src/cli/import/odd-text.ts'
import { isRefusal, readRow as readRowOf } from '../../../../src/cli/import/rows.ts'

const NOW = Date.UTC(2026, 6, 5)

type SourceRow = Record<string, string | null>
const readRow = (row: SourceRow, now: number) => readRowOf(operator.fields, rules, row, now)

const valid = { externalId: '1', email: 'ann@example.com', handle: 'ann' }

/** Checks a row with the command's and the server's rules. They must agree, or a dry run would report wrong numbers. */
function bothSay(row: SourceRow): string {
  const own = readRow(row, NOW)
  if (isRefusal(own)) return own.code
  const servers = readRecord(own, NOW)
  return isServersRefusal(servers) ? `only the server: ${servers.code}` : 'importable'
}

describe('the command refuses a row for the same reason as the server', () => {
  test.each([
    [{}, 'importable'],
    [{ externalId: '' }, 'EXTERNAL_ID_INVALID'],
    [{ externalId: 'x'.repeat(200) }, 'importable'],
    [{ externalId: 'x'.repeat(201) }, 'EXTERNAL_ID_INVALID'],
    [{ email: ' Ann@Example.com\t' }, 'importable'],
    [{ email: 'ann@example' }, 'EMAIL_INVALID'],
    [{ email: null }, 'EMAIL_INVALID'],
    [{ email: `${'a'.repeat(242)}@example.com` }, 'importable'],
    [{ email: `${'a'.repeat(243)}@example.com` }, 'EMAIL_INVALID'],
    [{ handle: ' Ann_1 ' }, 'importable'],
    [{ handle: 'an' }, 'HANDLE_INVALID'],
    [{ handle: 'a'.repeat(31) }, 'HANDLE_INVALID'],
    [{ handle: 'ann.b' }, 'HANDLE_INVALID'],
    [{ handle: 'İstanbul' }, 'HANDLE_INVALID'],
    [{ handle: '\u212aelvin' }, 'HANDLE_INVALID'],
    [{ displayName: ' \n ' }, 'importable'],
    [{ displayName: '👩'.repeat(50) }, 'importable'],
    [{ displayName: '👩'.repeat(51) }, 'DISPLAY_NAME_INVALID'],
    [{ bio: '👩'.repeat(300) }, 'importable'],
    [{ bio: '👩'.repeat(301) }, 'BIO_INVALID'],
    [{ externalId: 'a\0b' }, 'EXTERNAL_ID_INVALID'],
    [{ email: `${' '.repeat(2_000_000)}ann@example.com` }, 'importable'],
    [{ email: 'a\0@example.com' }, 'EMAIL_INVALID'],
    [{ displayName: 'a\0b' }, 'DISPLAY_NAME_INVALID'],
    [{ displayName: 'a\ud800' }, 'DISPLAY_NAME_INVALID'],
    [{ bio: `a${NOT_TEXT}b` }, 'BIO_INVALID'],
    [{ bio: BLOB }, 'BIO_INVALID'],
    [{ bio: 'a \ufffd that is the user’s own' }, 'importable'],
    [{ passwordHash: '\0' }, 'importable'],
    [{ createdAt: '-1' }, 'CREATED_AT_INVALID'],
    [{ createdAt: 'yesterday' }, 'CREATED_AT_INVALID'],
    [{ createdAt: '2026-07-07' }, 'CREATED_AT_INVALID'],
    [{ createdAt: '9e99' }, 'CREATED_AT_INVALID'],
    [{ emailVerifiedAt: 'TRUE' }, 'importable'],
    [{ emailVerifiedAt: '2024-01-02T03:04:05Z' }, 'importable'],
    [{ emailVerifiedAt: '2024-01-02 03:04:05.678+00' }, 'importable'],
    [{ emailVerifiedAt: '2024-02-30' }, 'EMAIL_VERIFIED_AT_INVALID'],
    [{ createdAt: `2024-01-02${NUL}` }, 'CREATED_AT_INVALID'],
    [{ emailVerifiedAt: 'maybe' }, 'EMAIL_VERIFIED_AT_INVALID'],
    [{ passwordHash: 'x'.repeat(1_000) }, 'importable'],
  ] as [SourceRow, string][])('%j: %s', (change, expected) => {
    expect(bothSay({ ...valid, ...change })).toBe(expected)
  })

  test('for any content', () => {
    const text = fc.oneof(
      fc.string(),
      fc.string({ unit: 'grapheme', maxLength: 60 }),
      fc.emailAddress(),
      fc.constant(null),
    )
    const row = fc.record({ email: text, handle: text, displayName: text, bio: text, createdAt: text })
    fc.assert(
      fc.property(row, (some) => {
        expect(bothSay({ ...valid, ...some })).not.toMatch(/^only the server/)
      }),
    )
    fc.assert(
      fc.property(text, (email) => {
        expect(bothSay({ ...valid, email })).not.toMatch(/^only the server/)
      }),
    )
  })

  test('the command refuses nothing that the server accepts', () => {
    fc.assert(
      fc.property(fc.emailAddress(), (email) => {
        const isTaken = !isServersRefusal(readRecord({ ...valid, email }, NOW))
        expect(bothSay({ ...valid, email }) === 'importable').toBe(isTaken)
      }),
    )
  })
})

test('blanks around an e-mail address are not sent', () => {
  expect(readRow({ ...valid, email: `${' '.repeat(2_000_000)}ann@example.com\n` }, NOW)).toMatchObject(valid)
})

const AT = Date.UTC(2024, 0, 2, 3, 4, 5)

/** Reads a time with the command, and the command's result with the server. */
function bothRead(field: 'createdAt' | 'emailVerifiedAt', text: string): number | null | string {
  const own = readRow({ ...valid, [field]: text }, NOW)
  if (isRefusal(own)) return own.code
  const servers = readRecord(own, NOW)
  return isServersRefusal(servers) ? `only the server: ${servers.code}` : servers[field]
}

describe.each(['createdAt', 'emailVerifiedAt'] as const)('%s, by both readers', (field) => {
  test.each([
    ['', null],
    ['1704164645', AT],
    ['1704164645.678', AT + 678],
    ['1704164645.0', AT],
    ['1704164645678', AT + 678],
    ['1704164645678.0', AT + 678],
    ['1.704164645e9', AT],
    ['2024-01-02T03:04:05Z', AT],
    ['2024-01-02t03:04:05z', AT],
    ['2024-01-02T03:04:05.678Z', AT + 678],
    ['2024-01-02T03:04:05.678912Z', AT + 678],
    ['2024-01-02T05:04:05+02:00', AT],
    ['2024-01-02 03:04:05', AT],
    ['2024-01-02T03:04:05', AT],
    ['2024-01-02 03:04', AT - 5_000],
    [' 2024-01-02 03:04:05 ', AT],
    ['2024-01-02 03:04:05.678', AT + 678],
    ['2024-01-02 03:04:05.678+00', AT + 678],
    ['2024-01-02 03:04:05.678912+00:00', AT + 678],
    ['2024-01-02 08:34:05+0530', AT],
    ['2024-01-02 08:34:05+05:30', AT],
    ['2024-01-01 19:04:05-08', AT],
    ['2024-01-02 03:04:05 +0000', AT],
    ['2024-01-02 03:04:05 UTC', AT],
    ['2024-01-02', AT - (3 * 3_600 + 4 * 60 + 5) * 1_000],
    ['2024-02-29', Date.UTC(2024, 1, 29)],
  ])('"%s"', (text, expected) => {
    expect(bothRead(field, text)).toBe(expected)
  })

  test.each([
    '2024-02-30',
    '2023-02-29 00:00:00',
    '2024-13-01T00:00:00Z',
    '2024-01-02 25:00:00',
    '2024-01-02 03:60:00',
    '2024-01-02 03:04:05+25:00',
    '2024-01-02 03:04:05 CET',
    '0000-00-00 00:00:00',
    '02.01.2024',
    '1/2/2024',
    'NULL',
    '1704164645678912',
    '0x10',
  ])('"%s" is refused', (text) => {
    expect(bothRead(field, text)).toBe(field === 'createdAt' ? 'CREATED_AT_INVALID' : 'EMAIL_VERIFIED_AT_INVALID')
  })

  test('any time with any offset, in the forms of databases', () => {
    const time = fc.integer({ min: 0, max: NOW })
    const offset = fc.integer({ min: -14 * 60, max: 14 * 60 })
    const form = fc.record({
      between: fc.constantFrom('T', 't', ' '),
      digits: fc.constantFrom(3, 4, 6, 9),
      colon: fc.boolean(),
      space: fc.constantFrom('', ' '),
    })
    fc.assert(
      fc.property(time, offset, form, (at, minutes, { between, digits, colon, space }) => {
        const local = new Date(at + minutes * 60_000).toISOString()
        const two = (value: number) => String(Math.floor(value)).padStart(2, '0')
        const zone = `${minutes < 0 ? '-' : '+'}${two(Math.abs(minutes) / 60)}${colon ? ':' : ''}${two(Math.abs(minutes) % 60)}`
        const text = `${local.slice(0, 10)}${between}${local.slice(11, 23).padEnd(9 + digits, '9')}${space}${zone}`
        expect(bothRead(field, text)).toBe(at)
      }),
    )
  })
})

test.each([
  ['1', AT],
  ['TRUE', AT],
  ['t', AT],
  ['yes', AT],
  ['0', null],
  ['false', null],
  ['F', null],
  ['n', null],
])('a verified address as "%s"', (emailVerifiedAt, expected) => {
  const own = readRow({ ...valid, createdAt: String(AT), emailVerifiedAt }, NOW)
  expect(isRefusal(own) ? own.code : readRecord(own, NOW)).toMatchObject({ emailVerifiedAt: expected })
})
