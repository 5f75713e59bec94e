import fc from 'fast-check'
import { expect, test } from 'vitest'
import { searchName, searchText } from '../../../../src/app/profiles/names.ts'

test.each([
  ['Ada  Lovelace ', 'ada lovelace'],
  ['Straße', 'STRASSE'],
  ['ΟΔΟΣ', 'οδος'],
  ['ΟΣ', 'οσ'],
  ['ﬁne', 'FINE'],
  ['Ａｄａ', 'ada'],
  ['e\u0301', '\u00c9'],
  ['a\u3000b', 'A\n B'],
])('%j and %j are equal to a search', (one, other) => {
  expect(searchText(one)).toBe(searchText(other))
})

test('letters with different accents are not equal', () => {
  expect(searchText('Ada')).not.toBe(searchText('Ádá'))
})

test('what is found by a text is found by each start of it', () => {
  const character = fc.oneof(
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 1 }),
    fc.constantFrom('Σ', 'ß', ' '),
  )
  fc.assert(
    fc.property(fc.array(character, { maxLength: 60 }), (characters) => {
      const name = searchName(characters.join(''))
      expect([...name].length).toBeLessThanOrEqual(50)
      expect(searchText(name)).toBe(name.trim())
      expect([...searchText(characters.join(''))].join('').startsWith(name)).toBe(true)
    }),
  )
  expect(searchText('ΟΔΟΣ').startsWith(searchText('ΟΔ'))).toBe(true)
})
