import { expect, test } from 'vitest'
import { shownName } from '../../../../src/app/profiles/names.ts'
import { isVisible } from '../../../../src/core/visible.ts'

const blank = [
  ['nothing', ''],
  ['spaces', ' \u00a0\u2003\u3000\u1680'],
  ['line ends', '\n\r\u2028\u2029\u0085'],
  ['controls', '\u0000\u0007\u001b\u007f\u009f'],
  ['zero-width characters', '\u200b\u200c\u200d\u2060\ufeff'],
  ['marks of direction', '\u200e\u200f\u061c\u202a\u202e\u2066\u2069'],
  ['a soft hyphen', '\u00ad'],
  ['a grapheme joiner', '\u034f'],
  ['Hangul fillers', '\u115f\u1160\u3164\uffa0'],
  ['Khmer vowels that are never shown', '\u17b4\u17b5'],
  ['Mongolian selectors', '\u180b\u180e\u180f'],
  ['variation selectors', '\ufe00\ufe0f\u{e0100}\u{e01ef}'],
  ['tags', '\u{e0001}\u{e0041}\u{e007f}'],
  ['code points that Unicode reserves for more of these', '\u2065\ufff0\u{e0fff}'],
  ['annotations', '\ufff9\ufffa\ufffb'],
  ['controls of shorthand and of musical notation', '\u{1bca0}\u{1d173}\u{1d17a}'],
  ['noncharacters', '\ufdd0\uffff\u{1fffe}\u{10ffff}'],
  ['an empty pattern of Braille', '\u2800'],
  ['a note without a head, hieroglyphs without a picture', '\u{1d159}\u{13441}\u{13442}'],
  ['a filler of Khitan', '\u{16fe4}'],
] as const

test.each(blank)('%s: invisible', (_, text) => {
  expect(isVisible(text)).toBe(false)
  expect(isVisible(`${text}a${text}`)).toBe(true)
  expect(shownName({ displayName: text, handle: 'ada' })).toBe('ada')
})

test('letters of all scripts, emoji and symbols are visible', () => {
  for (const text of [
    'a',
    'é',
    'ß',
    '李',
    'שלום',
    'نور',
    'ᄀ',
    'ក',
    'ᠠ',
    '👩',
    '👩‍👩‍👧',
    '🏴󠁧󠁢󠁥󠁮󠁧󠁿',
    '❤️',
    '·',
    '-',
    '_',
    '⠁',
    '\u0301',
    '\ue000',
    '\ufffd',
    '\u{1fae9}',
  ])
    expect(isVisible(text), text).toBe(true)
  expect(shownName({ displayName: ' Ada', handle: 'ada' })).toBe(' Ada')
})
