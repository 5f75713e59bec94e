import sharp from 'sharp'
import { expect, test } from 'vitest'
import { bareWebp } from '../../../src/app/media/bare-webp.ts'
import { uploadBytes } from '../../support/upload-files.ts'

const pixelsOf = (bytes: Uint8Array) => sharp(bytes).raw().toBuffer()

test.each(['metadata.webp', 'lossless.webp', 'lossy.webp', 'alpha.webp', 'dot.webp'])(
  '%s loses its metadata and keeps its pixels',
  async (file) => {
    const whole = await uploadBytes(file)
    const bare = bareWebp(whole)
    const { exif, xmp, icc, iptc } = await sharp(bare).metadata()
    expect([exif, xmp, icc, iptc]).toEqual(Array(4).fill(undefined))
    expect(Buffer.from(bare).includes('EXIF') || Buffer.from(bare).includes('XMP ')).toBe(false)
    expect(await pixelsOf(bare)).toEqual(await pixelsOf(whole))
  },
)

test('the flags of removed chunks are cleared, and the sizes are right', async () => {
  const whole = await uploadBytes('metadata.webp')
  expect(Buffer.from(whole).includes('EXIF')).toBe(true)
  const bare = Buffer.from(bareWebp(whole))
  expect(bare.readUInt32LE(4)).toBe(bare.length - 8)
  const extended = bare.indexOf('VP8X')
  if (extended > 0) expect(bare.readUInt8(extended + 8) & 0x2c).toBe(0)
})

test.each(['dot.png', 'truncated.webp'])('%s is refused', async (file) => {
  const bytes = await uploadBytes(file)
  expect(() => bareWebp(bytes)).toThrow(expect.objectContaining({ code: 'PICTURE_TYPE' }))
})
