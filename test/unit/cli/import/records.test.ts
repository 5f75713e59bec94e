import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isRefusal as isServersRefusal, readRecord } from '../../../../src/app/imports/records.ts'
import { isRefusal, readRow, readTime, type SourceRow } from '../../../../src/cli/import/records.ts'

const NOW = Date.UTC(2026, 6, 5)
const valid = { externalId: '1', email: 'ann@example.com', handle: 'ann' }

/** What the command makes of a row is what the server makes of the same: else a dry run would promise too much or too little. */
function bothSay(row: SourceRow): string {
  const own = readRow(row, NOW)
  if (isRefusal(own)) return own.code
  const servers = readRecord(own, NOW)
  return isServersRefusal(servers) ? `only the server: ${servers.code}` : 'importable'
}

describe('a row is refused here for what the server refuses it', () => {
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
    [{ displayName: ' \n ' }, 'importable'],
    [{ displayName: '👩'.repeat(50) }, 'importable'],
    [{ displayName: '👩'.repeat(51) }, 'DISPLAY_NAME_INVALID'],
    [{ bio: '👩'.repeat(300) }, 'importable'],
    [{ bio: '👩'.repeat(301) }, 'BIO_INVALID'],
    [{ createdAt: '-1' }, 'CREATED_AT_INVALID'],
    [{ createdAt: 'yesterday' }, 'CREATED_AT_INVALID'],
    [{ createdAt: '2026-07-07' }, 'CREATED_AT_INVALID'],
    [{ createdAt: '9e99' }, 'CREATED_AT_INVALID'],
    [{ emailVerifiedAt: 'TRUE' }, 'importable'],
    [{ emailVerifiedAt: 'maybe' }, 'EMAIL_VERIFIED_AT_INVALID'],
    [{ passwordHash: 'x'.repeat(1_000) }, 'importable'],
  ] as [SourceRow, string][])('%j: %s', (change, expected) => {
    expect(bothSay({ ...valid, ...change })).toBe(expected)
  })

  test('whatever stands in it', () => {
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

  test('what the server would take is not refused here', () => {
    fc.assert(
      fc.property(fc.emailAddress(), (email) => {
        const isTaken = !isServersRefusal(readRecord({ ...valid, email }, NOW))
        expect(bothSay({ ...valid, email }) === 'importable').toBe(isTaken)
      }),
    )
  })
})

test.each([
  ['', null],
  ['1700000000', 1_700_000_000_000],
  ['1700000000.5', 1_700_000_000_500],
  ['1700000000123', 1_700_000_000_123],
  ['1.7e9', 1_700_000_000_000],
  ['2023-11-14 22:13:20', 1_700_000_000_000],
  ['2023-11-14T22:13:20.25Z', 1_700_000_000_250],
  ['2023-11-14T23:13:20+01:00', 1_700_000_000_000],
  ['2023-11-14', 1_699_920_000_000],
  ['2023-02-30', Number.NaN],
  ['14.11.2023', Number.NaN],
])('the time "%s"', (text, expected) => {
  expect(readTime(text)).toBe(expected)
})
