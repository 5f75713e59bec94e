import { describe, expect, test } from 'vitest'
import { limits } from '../../../src/core/limits.ts'
import {
  advanced,
  type CausalToken,
  formatCausalToken,
  noToken,
  ownSlotsOf,
  readCausalToken,
} from '../../../src/web/causal-token.ts'

const KEY = 'a signing key of at least 32 characters'
const NOW = 1_000_000

/** The token as the client sends it back. */
const sentBack = (text: string, now = NOW) =>
  readCausalToken(new Request('http://localhost/', { headers: { 'x-causal-token': text } }), KEY, now)

const token = (changes: Partial<CausalToken>): CausalToken => ({ ...noToken, ...changes })

describe('a token', () => {
  const whole = token({ epoch: 7, slots: ['00a7'], bookmarks: new Map([['shard-001', '0005']]), isPartial: true })

  test.each([
    ['of a client who wrote', whole],
    ['without replicas', token({ epoch: 7, slots: ['00a7'] })],
  ])('%s comes back as it was', (_, given) => {
    expect(sentBack(formatCausalToken(KEY, given, NOW))).toEqual(given)
  })

  test.each([
    ['has expired', formatCausalToken(KEY, whole, NOW - limits.causalTokenMs)],
    ['another key signed', formatCausalToken(`${KEY}!`, whole, NOW)],
    ['is not one', 'x.y'],
  ])('that %s counts as none', (_, text) => {
    expect(sentBack(text)).toEqual(noToken)
  })

  test('with eight bookmarks fits in a cookie', () => {
    const d1 = '0000007b-0000b26e-00001538-0c3e87bb37b3db5cc52eedb93cd3b96b'
    const bookmarks = new Map(Array.from({ length: 8 }, (_, n): [string, string] => [`shard-00${n}`, d1]))
    const slots = Array.from({ length: 8 }, (_, n) => `000${n}`)
    expect(formatCausalToken(KEY, token({ epoch: 1_000, slots, bookmarks }), NOW).length).toBeLessThan(2_000)
  })
})

describe('after a request that wrote, the token has', () => {
  const written = (bookmarks: [string, string][], slots: string[] = []) => ({
    epoch: 2,
    slots,
    bookmarks: new Map(bookmarks),
  })

  test('the later bookmark of each shard', () => {
    const before = token({
      bookmarks: new Map([
        ['shard-000', '0003'],
        ['shard-001', '0009'],
      ]),
    })
    const after = advanced(
      before,
      written([
        ['shard-000', '0005'],
        ['shard-001', '0004'],
      ]),
    )
    expect([...after.bookmarks].sort()).toEqual([
      ['shard-000', '0005'],
      ['shard-001', '0009'],
    ])
  })

  const eight = Array.from({ length: 8 }, (_, n) => `shard-00${n}`)

  test('at most eight shards, and then tells that older ones are missing', () => {
    const full = token({ bookmarks: new Map(eight.map((id) => [id, '0001'])) })
    expect(advanced(full, written([['shard-003', '0002']])).isPartial).toBe(false)
    const after = advanced(full, written([['shard-008', '0002']]))
    expect([...after.bookmarks.keys()]).toEqual(['shard-008', ...eight.slice(0, 7)])
    expect(after.isPartial).toBe(true)
    expect(advanced(after, written([['shard-008', '0003']])).isPartial).toBe(true)
  })

  test('at most eight slots, and then tells that older ones are missing', () => {
    const slots = Array.from({ length: 8 }, (_, n) => `000${n}`)
    const after = advanced(token({ slots }), written([], ['0008']))
    expect(after.slots).toEqual(['0008', ...slots.slice(0, 7)])
    expect(after.isPartial).toBe(true)
  })
})

test('a client whose token dropped slots may have written all slots', () => {
  const request = new Request('http://localhost/', { headers: { authorization: 'Bearer 00a701jd.x.y' } })
  expect(ownSlotsOf(request, token({ slots: ['0001'] }))).toEqual(new Set(['0001', '00a7']))
  expect(ownSlotsOf(request, token({ slots: ['0001'], isPartial: true }))).toBe('all')
})
