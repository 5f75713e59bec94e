import sharp from 'sharp'
import { expect, test } from 'vitest'
import { placeholderColours } from '../../../src/app/media/placeholder.ts'
import { pixelsOf } from '../../../src/app/media/png-pixels.ts'

const [width, height] = [23, 17]
const noise = Buffer.from(
  Array.from({ length: width * height * 4 }, (_, at) => (at * 7919 + (at >> 3) * 104_729) % 256),
)
const raw = () => sharp(noise, { raw: { width, height, channels: 4 } })

test.each([
  ['colour with alpha', () => raw().png()],
  ['colour', () => raw().removeAlpha().png({ adaptiveFiltering: true })],
  ['a palette', () => raw().png({ palette: true })],
  ['grey', () => raw().removeAlpha().greyscale().png()],
])('the pixels of a PNG with %s are those that libvips decodes', async (_name, make) => {
  const png = await make().toBuffer()
  const expected = await sharp(png).toColourspace('srgb').ensureAlpha().raw().toBuffer()
  const found = await pixelsOf(png)
  expect(found).toMatchObject({ width, height })
  expect(Buffer.from(found!.rgba).equals(expected)).toBe(true)
})

test('other files have no pixels here', async () => {
  expect(await pixelsOf(new Uint8Array())).toBeNull()
  expect(await pixelsOf(await raw().webp().toBuffer())).toBeNull()
  expect(await pixelsOf(await raw().resize(101, 10).png().toBuffer())).toBeNull()
  expect(await pixelsOf(await raw().toColourspace('rgb16').png().toBuffer())).toBeNull()
})

test('a placeholder has the colours of the picture, at their places', async () => {
  // White above, black below (thumbhash of a 2-row picture of 32 × 32).
  const { rgbaToThumbHash } = await import('thumbhash')
  const rgba = Uint8Array.from({ length: 32 * 32 * 4 }, (_, at) => (at % 4 === 3 || at < 32 * 16 * 4 ? 255 : 0))
  const colours = placeholderColours(Buffer.from(rgbaToThumbHash(32, 32, rgba)).toString('base64'))
  expect(colours).toHaveLength(16)
  const red = (colour: string) => Number.parseInt(colour.slice(1, 3), 16)
  expect(Math.min(...colours.slice(0, 4).map(red))).toBeGreaterThan(200)
  expect(Math.max(...colours.slice(12).map(red))).toBeLessThan(55)
})
