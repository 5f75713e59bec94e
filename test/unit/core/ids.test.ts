import fc from 'fast-check'
import { decodeTime } from 'ulid'
import { describe, expect, test } from 'vitest'
import { hash16 } from '../../../src/core/hash16.ts'
import { createIdSource, derivedUserId, isId, isUserId, slotOf, slotText } from '../../../src/core/ids.ts'
import { ManualClock, seededRandom } from '../../support/sharding-doubles.ts'

const seeds = fc.integer({ min: 0, max: 2 ** 32 - 1 })
const sourceOf = (seed: number, clock = new ManualClock(1_760_000_000_000)) => createIdSource(clock, seededRandom(seed))

test('a user’s id is 30 lowercase characters, and starts with the hash of the rest', () => {
  fc.assert(
    fc.property(seeds, (seed) => {
      const id = sourceOf(seed).userId()
      expect(id).toMatch(/^[0-9a-f]{4}[0-7][0-9a-hjkmnp-tv-z]{25}$/)
      expect(slotOf(id)).toBe(hash16(id.slice(4)).toString(16).padStart(4, '0'))
      expect(isUserId(id) && isId(id)).toBe(true)
    }),
  )
})

describe('texts that are not user ids', () => {
  const id = sourceOf(1).userId()
  /** The same change with the correct hash, so that only the form is wrong. */
  const rehashed = (ulid: string) => slotText(hash16(ulid)) + ulid

  test.each([
    ['', ''],
    ['one character less', rehashed(id.slice(4, -1))],
    ['one character more', rehashed(`${id.slice(4)}0`)],
    ['uppercase', id.toUpperCase()],
    ['an uppercase ULID', rehashed(id.slice(4).toUpperCase())],
    ['a ULID past the largest', rehashed(`8${id.slice(5)}`)],
    ...[...'ilou'].map((letter) => [`the letter ${letter}`, rehashed(id.slice(4, -1) + letter)]),
    ['a slot that is not hexadecimal', `g${id.slice(1)}`],
    ['a line break at the end', `${id}\n`],
    ['a blank before', ` ${id}`],
    ['another script’s digit', rehashed(`${id.slice(4, -1)}٣`)],
  ])('%s', (_, text) => {
    expect([isId(text!), isUserId(text!)]).toEqual([false, false])
  })

  test('any other slot before its ULID', () => {
    fc.assert(
      fc.property(seeds, fc.integer({ min: 1, max: 65_535 }), (seed, off) => {
        const ulid = sourceOf(seed).plain()
        const wrong = slotText((hash16(ulid) + off) % 65_536) + ulid
        expect([isId(wrong), isUserId(wrong)]).toEqual([true, false])
      }),
    )
  })
})

describe('users spread over the slots, for any seed', () => {
  test('any 16 consecutive ids cover the 16 sixteenths', () => {
    fc.assert(
      fc.property(seeds, (seed) => {
        const source = sourceOf(seed)
        const strata = Array.from({ length: 40 }, () => source.userId()[0])
        for (let from = 0; from + 16 <= strata.length; from++)
          expect(new Set(strata.slice(from, from + 16)).size).toBe(16)
      }),
      { numRuns: 20 },
    )
  })

  test.each([1, 2, 4])('with 200 users on %i shards, the fullest has at most 1.25 times the mean', (shards) => {
    fc.assert(
      fc.property(seeds, (seed) => {
        const source = sourceOf(seed)
        const counts = Array(shards).fill(0) as number[]
        for (let user = 0; user < 200; user++)
          counts[Math.floor((Number.parseInt(slotOf(source.userId()), 16) * shards) / 65_536)]!++
        expect(Math.max(...counts) / (200 / shards)).toBeLessThanOrEqual(1.25)
      }),
      { numRuns: 10 },
    )
  })
})

test('owned ids are in the user’s slot, and sort by time', () => {
  fc.assert(
    fc.property(seeds, fc.array(fc.integer({ min: 1, max: 10 ** 9 }), { maxLength: 20 }), (seed, steps) => {
      const clock = new ManualClock(1_760_000_000_000)
      const source = sourceOf(seed, clock)
      const owner = source.userId()
      const owned = steps.map((ms) => {
        clock.advance(ms)
        return source.ownedId(owner)
      })
      expect(owned.every((id) => isId(id) && slotOf(id) === slotOf(owner))).toBe(true)
      expect(owned.toSorted()).toEqual(owned)
    }),
  )
})

describe('a derived id', () => {
  test('is a user id with the given time, equal for equal origins, and different for different ones', () => {
    fc.assert(
      fc.property(fc.nat(), fc.string(), fc.string(), (time, one, other) => {
        const id = derivedUserId(time, one)
        expect(isUserId(id)).toBe(true)
        expect(decodeTime(id.slice(4).toUpperCase())).toBe(time)
        expect(derivedUserId(time, one)).toBe(id)
        expect(derivedUserId(time, other) === id).toBe(one === other)
      }),
    )
  })

  test('has the first 80 bits of the origin’s SHA-256 after its time', () => {
    // FIPS 180-2's vector: SHA-256("abc") = ba7816bf8f01cfea4141…, five bits per digit: 10111 01001 11100 00001 …
    const id = derivedUserId(0, 'abc')
    expect(id.slice(4, 14)).toBe('0000000000')
    expect(id.slice(14, 18)).toBe('q9w1')
  })

  test('20,000 of them spread evenly over 16 sixteenths, like generated ids', () => {
    const counts = Array<number>(16).fill(0)
    for (let n = 0; n < 20_000; n++) counts[Number.parseInt(derivedUserId(0, `old\0${n}`)[0]!, 16)]!++
    // A sixteenth is 1,250 ± 34 (one standard deviation).
    expect(Math.min(...counts)).toBeGreaterThan(1_250 - 6 * 34)
    expect(Math.max(...counts)).toBeLessThan(1_250 + 6 * 34)
  })
})
