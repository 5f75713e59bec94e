/**
 * CRC-16/XMODEM (polynomial 0x1021, initial value 0, no reflection, no final xor): the hash that Redis Cluster routes
 * by. Published check value: the ASCII string `123456789` gives 0x31C3 (reveng.sourceforge.io/crc-catalogue,
 * "CRC-16/XMODEM"). Not cryptographic. It must never change, because every stored id contains its result.
 */
const table = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1
  return crc & 0xffff
})

/** The hash of an ASCII text: an integer from 0 to 65,535. */
export function hash16(text: string): number {
  let crc = 0
  for (let index = 0; index < text.length; index++) {
    crc = ((crc << 8) ^ table[((crc >>> 8) ^ text.charCodeAt(index)) & 0xff]!) & 0xffff
  }
  return crc
}
