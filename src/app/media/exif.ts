import type { PictureBytes } from './picture-bytes.ts'

const ORIENTATION = 0x0112
const SHORT = 3

/**
 * The orientation in EXIF data between `start` and the end of `bytes`: 1 to 8, or 1 if there is none. Damaged EXIF is
 * no reason to refuse a picture.
 */
export function exifOrientation(bytes: PictureBytes, start: number): number {
  const tiff = bytes.has(start, 'Exif\0\0') ? start + 6 : start
  const isLittleEndian = bytes.has(tiff, 'II*\0')
  if (!isLittleEndian && !bytes.has(tiff, 'MM\0*')) return 1
  const { end } = bytes
  const u16 = (at: number) => (isLittleEndian ? bytes.u16LittleEndian(at) : bytes.u16(at))
  const u32 = (at: number) => (isLittleEndian ? bytes.u32LittleEndian(at) : bytes.u32(at))

  if (tiff + 8 > end) return 1
  const directory = tiff + u32(tiff + 4)
  if (directory + 2 > end) return 1
  const entries = u16(directory)
  for (let entry = directory + 2; entry < directory + 2 + entries * 12 && entry + 12 <= end; entry += 12) {
    if (u16(entry) !== ORIENTATION) continue
    const value = u16(entry + 2) === SHORT && u32(entry + 4) === 1 ? u16(entry + 8) : 1
    return value >= 1 && value <= 8 ? value : 1
  }
  return 1
}
