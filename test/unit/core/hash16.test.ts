import { expect, test } from 'vitest'
import { hash16 } from '../../../src/core/hash16.ts'

/** CRC-16/XMODEM. The first is the catalogue's check value. The others come from the bit-by-bit division below. */
test.each([
  ['123456789', 0x31c3],
  ['', 0x0000],
  ['A', 0x58e5],
])('the published value of %j', (text, crc) => {
  expect(hash16(text)).toBe(crc)
})

/** The remainder of the message · x^16 divided by x^16 + x^12 + x^5 + 1, without a table. */
function remainder(text: string): number {
  let bits = 0n
  for (const letter of text) bits = (bits << 8n) | BigInt(letter.charCodeAt(0))
  bits <<= 16n
  for (let at = BigInt(text.length * 8 + 15); at >= 16n; at--) if ((bits >> at) & 1n) bits ^= 0x11021n << (at - 16n)
  return Number(bits)
}

test('is the polynomial’s remainder, for texts of each length', () => {
  const alphabet = '0123456789abcdefghjkmnpqrstvwxyz'
  for (let length = 0; length <= 64; length++) {
    const text = Array.from({ length }, (_, index) => alphabet[(index * 7 + length * 5) % 32]).join('')
    expect([text, hash16(text)]).toEqual([text, remainder(text)])
  }
})
